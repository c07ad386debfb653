"""Routing's decisions about one complaint: numbered from 1, each kept with what its publication needs again.

Pure. A decision follows from a submission, from an administration that holds another to be competent, or from a person
in triage. What was decided once is never decided again for the same cause: it is published again, the same.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.legal_time import deadlines
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import CaseTransferRequested
from chikaya_contracts.messages.routing import (
    Alternative,
    ClarificationAsked,
    ComplaintInadmissible,
    ComplaintRouted,
    ComplaintTriaged,
    Decision,
    DossierForwarded,
    RejectionReason,
)

from chikaya_routing.domain import judgement as judged
from chikaya_routing.domain.catalogue import Rows

SOURCE = "/routing"
DESK_INBOX = topics.INBOX.named(topics.DESK).name
UNDO_MARGIN = timedelta(seconds=1)
"""Instances' clocks differ: an undo ends a little before the decision may be published."""

Question = Literal["place", "request", "service"]
QUESTIONS: tuple[Question, ...] = get_args(Question)
REASONS: tuple[RejectionReason, ...] = get_args(RejectionReason)
Status = Literal["triage", "waiting", "routed", "rejected", "withdrawn"]
OPEN: tuple[Status, ...] = ("triage", "waiting")


Refusal = Literal["settled", "held", "asked", "too-late", "administration"]


class NotAllowed(Exception):
    """What an officer asked is not possible; `why` names the reason, told in the officer's language."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an officer decides: `route` to an `administration`, `reject` for a `reason`, or `ask` the citizen a
    `question`. `note` goes with the dossier."""

    action: Literal["route", "reject", "ask"]
    administration: str | None = None
    reason: RejectionReason | None = None
    question: Question | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Supplement:
    """What the citizen added while nobody was competent yet. `id` is that of the event that brought it."""

    id: str
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as it was taken: its message, and the event that caused it. `release_at` is when it may be published.

    What the citizen added is no part of the dossier: tracking tells each new holder all of it.
    """

    message: Decision
    cause: str
    traceparent: str | None
    release_at: datetime
    officer: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Complaint:
    """What routing knows of a complaint. `proposed` is whom the last administration held to be competent."""

    submission: ComplaintSubmitted
    decisions: tuple[Recorded, ...] = ()
    supplements: tuple[Supplement, ...] = ()
    proposed: str | None = None
    withdrawn: bool = False

    @property
    def id(self) -> str:
        """The complaint's id."""
        return self.submission.complaint_id

    @property
    def holders(self) -> tuple[str, ...]:
        """Every administration that the complaint was relayed to, in order."""
        return tuple(d.message.administration for d in self.decisions if isinstance(d.message, ComplaintRouted))

    def decided_for(self, cause: str) -> int | None:
        """The number of the decision that this cause has had already."""
        return next((one.message.decision for one in self.decisions if one.cause == cause), None)


def first(submission: ComplaintSubmitted, judgement: judged.Judgement, catalogue: Rows, at: datetime) -> Decision:
    """What follows from the text alone."""
    about = {
        "complaint_id": submission.complaint_id,
        "decision": 1,
        "decided_at": at,
        "by": "model",
        "probability": judgement.probability,
        "alternatives": tuple(
            Alternative(outcome=found.target, probability=found.probability) for found in judgement.alternatives
        ),
        "language": judgement.language.language,
        "model_version": judgement.model_version,
    }
    if judgement.outcome == "inadmissible":
        return ComplaintInadmissible.model_validate({**about, "reason": judgement.reason})
    if judgement.outcome == "triage":
        return ComplaintTriaged.model_validate({**about, "reason": judgement.reason})
    listed = catalogue.get(judgement.administration or "")
    if listed is None:
        return ComplaintTriaged.model_validate({**about, "reason": "administration-closed"})
    return ComplaintRouted.model_validate({**about, "administration": listed.slug, "inbox": listed.inbox})


def after_transfer(complaint: Complaint, asked: CaseTransferRequested, catalogue: Rows, at: datetime) -> Decision:
    """An administration holds another to be competent: once it is believed; a second time, or where it would go
    round, or where it names nobody, a person decides."""
    listed = catalogue.get(asked.proposed or "")
    transfers = sum(recorded.message.by == "transfer" for recorded in complaint.decisions)
    about = {
        "complaint_id": complaint.id,
        "decision": len(complaint.decisions) + 1,
        "decided_at": at,
        "by": "transfer",
    }
    if listed is None or listed.slug in complaint.holders or transfers:
        return ComplaintTriaged.model_validate({**about, "reason": "transfer"})
    return ComplaintRouted.model_validate({**about, "administration": listed.slug, "inbox": listed.inbox})


def settle(complaint: Complaint, settlement: Settlement, catalogue: Rows, at: datetime) -> Decision:
    """A triage officer decides.

    Raises:
        NotAllowed: no such administration is in force.
    """
    about = {
        "complaint_id": complaint.id,
        "decision": len(complaint.decisions) + 1,
        "decided_at": at,
        "by": "person",
    }
    if settlement.action == "reject":
        return ComplaintInadmissible.model_validate({**about, "reason": settlement.reason})
    if settlement.action == "ask":
        return ClarificationAsked.model_validate({**about, "question": settlement.question})
    listed = catalogue.get(settlement.administration or "")
    if listed is None:
        raise NotAllowed("administration")
    return ComplaintRouted.model_validate({**about, "administration": listed.slug, "inbox": listed.inbox})


def with_decision(
    complaint: Complaint,
    decision: Decision,
    cause: str,
    traceparent: str | None,
    release_at: datetime,
    officer: str | None = None,
    note: str | None = None,
) -> Complaint:
    """`complaint` with its next decision."""
    recorded = Recorded(decision, cause, traceparent, release_at, officer, note)
    return replace(complaint, decisions=(*complaint.decisions, recorded))


def without_last(complaint: Complaint) -> Complaint:
    """`complaint` as it was before its last decision, which has not been published."""
    return replace(complaint, decisions=complaint.decisions[:-1])


def status(complaint: Complaint) -> Status:
    """Where the complaint stands: for a person in `triage`, `waiting` for the citizen, or settled."""
    last = complaint.decisions[-1].message
    if isinstance(last, ComplaintRouted):
        return "routed"
    if isinstance(last, ComplaintInadmissible):
        return "rejected"
    if complaint.withdrawn:
        return "withdrawn"
    return "waiting" if isinstance(last, ClarificationAsked) else "triage"


def publications(
    complaint: Complaint, now: datetime, first: int = 1
) -> tuple[list[Event[Message]], list[Event[Message]]]:
    """All that may be published of a complaint's decisions from the `first` on: dossiers, which go before, and then
    decisions in their order."""
    dossiers: list[Event[Message]] = []
    decisions: list[Event[Message]] = []
    for recorded in complaint.decisions[first - 1 :]:
        if recorded.release_at > now:
            break
        message = recorded.message
        if isinstance(message, ComplaintRouted):
            dossiers.append(_dossier(complaint, recorded, message))
        decisions.append(
            Event(
                consequence_id(recorded.cause, message.TYPE, str(message.decision)),
                SOURCE,
                message.decided_at,
                message,
                message.TOPIC.name,
                {},
                recorded.traceparent,
            )
        )
    return dossiers, decisions


def _dossier(complaint: Complaint, recorded: Recorded, message: ComplaintRouted) -> Event[Message]:
    submission = complaint.submission
    due = deadlines(submission.received_at)
    data = DossierForwarded(
        complaint_id=submission.complaint_id,
        reference=submission.reference,
        decision=message.decision,
        administration=message.administration,
        channel=submission.channel,
        received_at=submission.received_at,
        relay_due=due.relay,
        answer_due=due.answer,
        nature=submission.nature,
        text=submission.text,
        text_language=complaint.decisions[0].message.language,
        place=submission.place,
        contact=submission.contact,
        notice_language=submission.language,
        attachments=submission.attachments,
        by=message.by,
        note=recorded.note,
    )
    shared = message.inbox == DESK_INBOX
    return Event(
        consequence_id(recorded.cause, DossierForwarded.TYPE, str(message.decision)),
        SOURCE,
        message.decided_at,
        data,
        message.inbox,
        {"administration": message.administration} if shared else {},
        recorded.traceparent,
    )
