"""What a filing becomes, and what a repeated one is compared with."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chikaya_contracts import access, legal_time
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.submission import Submission
from chikaya_intake.domain.acceptance import Complaint, Filing, Secrets, accept, fingerprint, is_repetition, receipt
from chikaya_intake.domain.attachments import Links

SECRETS = Secrets(b"code" * 8, b"verifier" * 4, Links(b"l" * 32, "http://intake.test"))
MakesFiling = Callable[..., Filing]


def accepted(filing: Filing) -> Complaint:
    return accept(
        filing,
        complaint_id="01a20d7b-7360-773b-9b29-6ccae7a6fe41",
        reference="20260000000152",
        attachments=(),
        accepted_at=filing.received_at,
        secrets=SECRETS,
    )


def test_the_receipt_opens_the_case_by_what_the_message_carries(a_filing: MakesFiling) -> None:
    complaint = accepted(a_filing())
    given = receipt(complaint, SECRETS)
    assert access.opens(SECRETS.verifier, complaint.id, given.access_code, complaint.message.verifier)
    assert given.access_code.replace("-", "") not in complaint.event.data.model_dump_json()


def test_the_deadlines_are_those_of_the_legal_clock(a_filing: MakesFiling) -> None:
    complaint = accepted(a_filing())
    legal = legal_time.deadlines(complaint.message.received_at)
    assert receipt(complaint, SECRETS).deadlines == {"relay": legal.relay, "answer": legal.answer}


def test_the_event_is_the_same_whenever_it_is_made(a_filing: MakesFiling) -> None:
    complaint = accepted(a_filing(traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01"))
    assert complaint.event == complaint.event
    assert isinstance(complaint.event.data, ComplaintSubmitted)
    assert complaint.event.traceparent


def test_how_a_submission_is_written_does_not_count() -> None:
    body: dict[str, Any] = {
        "text": "Une route coupée",
        "contact": {"name": "Ali", "phone": "0612345678"},
        "consent": True,
    }
    other: dict[str, Any] = {
        "consent": True,
        "nature": "complaint",
        "place": None,
        "contact": {"phone": "+212 612 34 56 78", "name": " Ali "},
        "text": "Une route coupée ",
    }
    assert fingerprint(Submission.model_validate(body)) == fingerprint(Submission.model_validate(other))


def test_only_the_same_submission_of_the_same_sender_is_a_repetition(a_filing: MakesFiling) -> None:
    filing = a_filing(key="k1")
    kept = accepted(filing)
    assert is_repetition(replace(filing, traceparent="other"), kept)
    assert not is_repetition(a_filing(key="k1", text="Autre chose"), kept)
    assert not is_repetition(a_filing(key="k1", channel="kiosk"), kept)
