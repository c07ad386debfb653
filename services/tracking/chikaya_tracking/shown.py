"""A case as its readers see it: the citizen, the agent who reads it aloud, the coordinator."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from chikaya_contracts import reference, states
from chikaya_contracts.messages.administration import AdministrationDecision
from chikaya_contracts.messages.lifecycle import CaseEvent, CaseQuestionAsked, CaseRequestRefused, CaseTransferRequested
from chikaya_contracts.messages.notification import NoticeOutcome
from chikaya_contracts.states import StateName
from pydantic import BaseModel

from .adapters.cases import Listed
from .catalogue import Catalogue
from .domain.asking import REFUSALS, Kind, allowed
from .domain.case import Case, Cause, Rules, asker
from .domain.case_file import CaseFile, waits_for

Reader = Literal["citizen", "agent", "coordinator"]


class Words(BaseModel):
    """The same in French and Arabic."""

    fr: str
    ar: str


class AdministrationShown(BaseModel):
    """An administration by name."""

    slug: str
    name_fr: str
    name_ar: str


class DeadlinesShown(BaseModel):
    """Last instants of the relay and of the answer. `paused` while the citizen's answer is awaited."""

    relay: datetime
    answer: datetime
    paused: bool


class EventShown(BaseModel):
    """A line of the history. `type` is a short name of the table of states; `text` the words that came with it."""

    sequence: int
    type: str
    at: datetime
    state: StateName
    administration: AdministrationShown | None = None
    text: str | None = None
    question: str | None = None
    asked_by: str | None = None
    reason: str | None = None
    score: int | None = None
    threshold: str | None = None
    due: datetime | None = None
    by: str | None = None


class QuestionShown(BaseModel):
    """The question that is open: in words, or one of routing's fixed list (`place`, `request`, `service`)."""

    asked_by: str
    at: datetime
    text: str | None = None
    question: str | None = None


class RatingShown(BaseModel):
    """How the citizen has rated the answer, 1-5."""

    score: int
    text: str | None = None


class AttachmentShown(BaseModel):
    """A file by name; its content is intake's."""

    filename: str
    media_type: str
    size: int


class ContactShown(BaseModel):
    """Whom an agent speaks with."""

    name: str
    phone: str | None = None
    email: str | None = None


class NoticeShown(BaseModel):
    """What became of a notice; `outcome` is sent, failed or skipped."""

    notice: str
    by: str
    language: str
    at: datetime
    outcome: str
    reason: str | None = None


class CaseShown(BaseModel):
    """A case. `contact` is for agents, `notices` for staff."""

    complaint_id: str
    reference: str
    reference_spoken: str
    nature: str
    channel: str
    language: str
    received_at: datetime
    text: str
    state: StateName
    state_name: Words
    told: Words
    administration: AdministrationShown | None
    deadlines: DeadlinesShown
    question: QuestionShown | None
    answer: str | None
    answered_at: datetime | None
    rejection: str | None
    rating: RatingShown | None
    allowed: list[Kind]
    history: list[EventShown]
    attachments: list[AttachmentShown]
    contact: ContactShown | None = None
    notices: list[NoticeShown] | None = None


class ListedShown(BaseModel):
    """A line of a list."""

    complaint_id: str
    reference: str
    reference_spoken: str
    nature: str
    state: StateName
    state_name: Words
    received_at: datetime
    administration: AdministrationShown | None


class ParkedShown(BaseModel):
    """A message that waits: what it is, from which topic, since when, and for what. `late` if that is too long;
    `overflowed` if its topic has sent so much that the rest was refused. A reference is known once there is a case."""

    complaint_id: str
    reference: str | None
    type: str
    topic: str
    administration: str | None
    since: datetime
    waits_for: Literal["submission", "decision"] | None
    late: bool
    overflowed: bool


class RequestShown(BaseModel):
    """What became of a request: `pending` until it is decided. `reason` and its words say why it was refused."""

    request_id: str
    status: Literal["pending", "applied", "refused"]
    reason: str | None = None
    message: Words | None = None


STAFF_ONLY = ("deadline-warned",)
"""Lines of the history that are no citizen's matter."""


def show(
    file: CaseFile,
    case: Case,
    reader: Reader,
    catalogue: Catalogue,
    now: datetime,
    rules: Rules,
    notices: Sequence[NoticeOutcome] | None = None,
) -> CaseShown:
    """The whole case for one reader."""
    filing = file.filing
    if filing is None:
        raise ValueError("a case with a state has been filed")
    person = filing.contact
    contact = ContactShown(name=person.name, phone=person.phone, email=person.email)
    return CaseShown(
        complaint_id=file.complaint_id,
        reference=case.reference,
        reference_spoken=reference.spoken(case.reference),
        nature=filing.nature,
        channel=filing.channel,
        language=filing.language,
        received_at=case.received_at,
        text=filing.text,
        state=case.state,
        state_name=_state_name(case.state),
        told=_told(case.state),
        administration=_administration(case.holder, catalogue),
        deadlines=DeadlinesShown(relay=case.relay_due, answer=case.answer_due, paused=case.asked_at is not None),
        question=_question(file, case),
        answer=_last_text(file, "answered") if case.answered_at else None,
        answered_at=case.answered_at,
        rejection=next((event.reason for event in _lines(file, reader, catalogue) if event.type == "rejected"), None),
        rating=RatingShown(score=case.rating, text=_last_text(file, "rated")) if case.rating else None,
        allowed=allowed(case, now, rules),
        history=_lines(file, reader, catalogue),
        attachments=[
            AttachmentShown(filename=one.filename, media_type=one.media_type, size=one.size)
            for one in filing.attachments
        ],
        contact=ContactShown(name=contact.name, phone=contact.phone, email=contact.email)
        if reader == "agent"
        else None,
        notices=None if notices is None else [_notice(outcome) for outcome in notices],
    )


def show_listed(row: Listed, catalogue: Catalogue) -> ListedShown:
    """A case in a list."""
    return ListedShown(
        complaint_id=row.complaint_id,
        reference=row.reference,
        reference_spoken=reference.spoken(row.reference),
        nature=row.nature,
        state=row.state,
        state_name=_state_name(row.state),
        received_at=row.received_at,
        administration=_administration(row.administration, catalogue),
    )


def show_parked(file: CaseFile, cause: Cause, late: datetime) -> ParkedShown:
    """A line of the list of what is parked; what came before `late` has waited too long."""
    return ParkedShown(
        complaint_id=file.complaint_id,
        reference=file.case.reference if file.case else None,
        type=cause.type,
        topic=cause.topic,
        administration=asker(cause) if isinstance(cause.data, AdministrationDecision) else None,
        since=cause.time,
        waits_for=waits_for(file, cause),
        late=cause.time < late,
        overflowed=cause.topic in file.overflowed,
    )


def show_request(file: CaseFile, topic: str, request_id: str) -> RequestShown:
    """What became of a request."""
    applied = file.find(topic, request_id)
    if applied is None:
        return RequestShown(request_id=request_id, status="pending")
    for sequence in applied.sequences:
        event = file.history[sequence - 1]
        if isinstance(event, CaseRequestRefused):
            fr, ar = REFUSALS[event.reason]
            return RequestShown(
                request_id=request_id, status="refused", reason=event.reason, message=Words(fr=fr, ar=ar)
            )
    return RequestShown(request_id=request_id, status="applied")


def _lines(file: CaseFile, reader: Reader, catalogue: Catalogue) -> list[EventShown]:
    return [_line(file, event, reader, catalogue) for event in file.history if _concerns(event, reader)]


def _concerns(event: CaseEvent, reader: Reader) -> bool:
    if reader != "citizen":
        return True
    if isinstance(event, CaseRequestRefused):
        return event.by in ("citizen", "agent")
    return event.short_name() not in STAFF_ONLY


def _line(file: CaseFile, event: CaseEvent, reader: Reader, catalogue: Catalogue) -> EventShown:
    # Why an administration sends a case back is between it and the arbiter.
    between_staff = isinstance(event, CaseTransferRequested) and reader == "citizen"
    return EventShown(
        sequence=event.sequence,
        type=event.short_name(),
        at=event.at,
        state=event.state,
        administration=_administration(event.administration, catalogue),
        text=None if between_staff else file.text(getattr(event, "text_id", None)),
        question=getattr(event, "question", None),
        asked_by=getattr(event, "asked_by", None),
        reason=getattr(event, "reason", None),
        score=getattr(event, "score", None),
        threshold=getattr(event, "threshold", None),
        due=getattr(event, "due", None),
        by=getattr(event, "by", None),
    )


def _question(file: CaseFile, case: Case) -> QuestionShown | None:
    if case.asked_by is None:
        return None
    asked = next(event for event in reversed(file.history) if isinstance(event, CaseQuestionAsked))
    return QuestionShown(asked_by=asked.asked_by, at=asked.at, text=file.text(asked.text_id), question=asked.question)


def _last_text(file: CaseFile, short_name: str) -> str | None:
    last = next((event for event in reversed(file.history) if event.short_name() == short_name), None)
    return file.text(getattr(last, "text_id", None))


def _state_name(state: StateName) -> Words:
    row = states.states()[state]
    return Words(fr=row.fr, ar=row.ar)


def _told(state: StateName) -> Words:
    row = states.states()[state]
    return Words(fr=row.told_fr, ar=row.told_ar)


def _administration(slug: str | None, catalogue: Catalogue) -> AdministrationShown | None:
    if slug is None:
        return None
    row = catalogue.find(slug)
    return AdministrationShown(slug=slug, name_fr=row.name_fr if row else slug, name_ar=row.name_ar if row else slug)


def _notice(outcome: NoticeOutcome) -> NoticeShown:
    return NoticeShown(
        notice=outcome.notice,
        by=outcome.by,
        language=outcome.language,
        at=outcome.at,
        outcome=outcome.TYPE.removeprefix("ma.chikaya.notice.").removesuffix(".v1"),
        reason=getattr(outcome, "reason", None),
    )
