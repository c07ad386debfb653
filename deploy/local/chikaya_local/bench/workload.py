"""The complaints of the benchmark: texts of routing's own corpus, and every message that such a complaint leads to."""

import csv
import itertools
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from chikaya_contracts import access, reference, topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.administration import Acknowledge, Answer
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import CaseAcknowledged, CaseAnswered, CaseClosed, CaseReceived, CaseRouted
from chikaya_contracts.messages.notification import NoticeSent, NoticeSkipped
from chikaya_contracts.messages.requests import Rate
from chikaya_contracts.messages.routing import ComplaintRouted
from chikaya_contracts.submission import Contact, Place, Submission

from chikaya_local.demonstration import complaints
from chikaya_local.stack import ROOT

CORPUS = ROOT / "services" / "routing" / "corpus"
ADMINISTRATION = "habous"
"""Of the complaints whose messages are made here: one that is served by the desk, as most are."""
ANSWER = "Votre dossier a été traité ce jour. · تمت معالجة ملفكم اليوم."


@cache
def texts() -> tuple[str, ...]:
    """Every text of the corpus, shuffled once and for all."""
    found = [
        row["text"]
        for file in sorted(CORPUS.glob("part*.csv"))
        for row in csv.DictReader(file.read_text("utf-8").splitlines())
        if 5 <= len(row["text"]) <= 9_000
    ]
    random.Random(20_170_622).shuffle(found)
    return tuple(found)


@cache
def _places() -> tuple[str, ...]:
    return tuple(one.submission.place.commune for one in complaints() if one.submission.place)  # type: ignore[misc]


def submission(number: int, of: Sequence[str] | None = None) -> Submission:
    """The `number`-th submission: no two are of one citizen, and one text is always at one place. Of four,
    two give an e-mail address, one a telephone number, one both.

    Args:
        of: texts to choose from; the whole corpus if not given.
    """
    chosen = of or texts()
    text = chosen[number % len(chosen)]
    email = f"citoyen{number}@example.ma" if number % 4 != 1 else None
    phone = f"+2126{number % 10**8:08d}" if number % 4 in (1, 2) else None
    return Submission(
        text=text,
        place=Place(commune=_places()[zlib.crc32(text.encode()) % len(_places())]),
        contact=Contact(name=f"Citoyen {number}", email=email, phone=phone),
        language="ar" if number % 3 == 0 else "fr",
        consent=True,
    )


def bodies(first: int, of: Sequence[str] | None = None) -> Iterator[bytes]:
    """Submissions from the `first`-th on as `POST /v1/complaints` takes them, without end."""
    for number in itertools.count(first):
        yield submission(number, of).model_dump_json(exclude_none=True).encode()


@dataclass(frozen=True)
class Life:
    """The messages of one complaint's life, by who writes them."""

    submitted: Event[Message]
    routed: Event[Message]
    decisions: tuple[Event[Message], ...]
    rated: Event[Message]
    lifecycle: tuple[Event[Message], ...]
    outcomes: tuple[Event[Message], ...]


def life(number: int, verifier_key: bytes) -> Life:
    """The life of the `number`-th complaint: routed, acknowledged, answered, rated and so closed."""
    filed, id, now = submission(number), new_id(), datetime.now(UTC)
    ref = reference.make(now.year, number + 1)
    due = {"relay_due": now + timedelta(days=15), "answer_due": now + timedelta(days=60)}
    verifier = access.verifier(verifier_key, id, access.code(b"benchmark", id))
    submitted = ComplaintSubmitted(
        complaint_id=id,
        reference=ref,
        verifier=verifier,
        channel="app",
        received_at=now,
        nature=filed.nature,
        text=filed.text,
        place=filed.place,
        contact=filed.contact,
        language=filed.language,
    )
    desk = {"administration": ADMINISTRATION}
    outbox, inbox = topics.OUTBOX.named(topics.DESK).name, topics.INBOX.named(topics.DESK).name
    routed = ComplaintRouted(
        complaint_id=id, decision=1, decided_at=now, by="model", administration=ADMINISTRATION, inbox=inbox
    )
    decided = (Acknowledge(complaint_id=id, **desk), Answer(complaint_id=id, text=ANSWER, **desk))

    def said(data: Message, source: str, topic: str | None = None) -> Event[Message]:
        return Event(new_id(), source, now, data, topic or data.TOPIC.name, desk if topic else {})

    def case(sequence: int, state: str) -> dict[str, object]:
        held = None if state == "received" else ADMINISTRATION
        common = {"complaint_id": id, "reference": ref, "at": now, "cause": new_id(), "nature": filed.nature}
        return (
            common
            | due
            | {"sequence": sequence, "state": state, "administration": held, "relays": int(held is not None)}
        )

    happened = (
        CaseReceived.model_validate(case(1, "received") | {"channel": "app", "language": filed.language}),
        CaseRouted.model_validate(case(2, "routed") | {"decision": 1}),
        CaseAcknowledged.model_validate(case(3, "acknowledged")),
        CaseAnswered.model_validate(case(4, "answered") | {"text_id": new_id()}),
        CaseClosed.model_validate(case(5, "closed")),
    )
    means = {"email": filed.contact.email, "sms": filed.contact.phone}
    lifecycle = tuple(said(one, "/tracking") for one in happened)
    told = (("receipt", lifecycle[0]), ("relayed", lifecycle[1]), ("answer", lifecycle[3]))

    def outcome(notice: str, event: Event[Message], by: str) -> Event[Message]:
        common = {"complaint_id": id, "event": event.id, "notice": notice, "by": by, "at": now}
        common["language"] = filed.language
        sent: Message = (
            NoticeSent.model_validate(common | {"attempts": 1})
            if means[by]
            else NoticeSkipped.model_validate(common | {"reason": "no-address"})
        )
        return said(sent, "/notification")

    return Life(
        said(submitted, "/intake"),
        said(routed, "/routing"),
        tuple(said(one, "/desk", outbox) for one in decided),
        said(Rate(complaint_id=id, at=now, by="citizen", score=4), "/tracking"),
        lifecycle,
        tuple(outcome(notice, event, by) for notice, event in told for by in means),
    )
