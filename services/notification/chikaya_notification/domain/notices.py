"""What follows for the citizen from what has happened to the case.

`notices` decides, of one event and without those before it, so that the order in which they come does not matter;
`addressed` completes a notice that was decided before the contact came, since contact and lifecycle come from
different topics.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from chikaya_contracts.envelope import Event
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import (
    CaseEvent,
    CaseQuestionAsked,
    CaseRejected,
)
from chikaya_contracts.messages.routing import RejectionReason
from chikaya_contracts.states import StateName
from chikaya_contracts.submission import Nature, NoticeLanguage

from .matrix import Means, matrix

NoticeState = Literal["waiting", "pending", "sent", "failed", "skipped"]
Question = Literal["place", "request", "service", "administration"]
"""What is asked: one of triage's fixed questions, or the administration's own, whose words stay in tracking."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Where a citizen is written to, and in which language. The name is not kept: no notice needs it."""

    language: NoticeLanguage
    email: str | None = None
    phone: str | None = None

    @classmethod
    def of(cls, submitted: ComplaintSubmitted) -> "Contact":
        """The contact in a submission."""
        return cls(submitted.language, submitted.contact.email, submitted.contact.phone)

    def address(self, by: Means) -> str | None:
        """The e-mail address or the telephone number (E.164)."""
        return self.email if by == "email" else self.phone


@dataclass(frozen=True, slots=True)
class Facts:
    """What a notice's words are made from. `again` is true when another administration held the case before."""

    at: datetime
    state: StateName
    nature: Nature = "complaint"
    administration: str | None = None
    relay_due: datetime | None = None
    answer_due: datetime | None = None
    again: bool = False
    rejection: RejectionReason | None = None
    question: Question | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one citizen by one means, and what has become of it.

    `event` is the lifecycle event's id. `waiting` is for the contact, `pending` for its turn, from `due` on. `language`
    is that of the contact, unknown while waiting. `ended_at` and `reason` (never an address) are those of its end.
    """

    id: str
    complaint_id: str
    reference: str
    event: str
    notice: str
    by: Means
    facts: Facts
    state: NoticeState
    due: datetime
    language: NoticeLanguage | None = None
    attempts: int = 0
    ended_at: datetime | None = None
    reason: str | None = None
    traceparent: str | None = None


def leads_to_notices(event: CaseEvent) -> bool:
    """Whether anybody is told of `event`."""
    return bool(matrix().after(event.short_name()))


def notices(event: Event[CaseEvent], contact: Contact | None) -> list[Notice]:
    """The notices that follow from `event`, one for each means of its rows.

    The same event gives the same ids each time.

    Args:
        contact: None while it has not come; the notices then wait for it.
    """
    rows = matrix().after(event.data.short_name())
    if not rows:
        return []
    facts = _facts(event.data)
    made = [
        Notice(
            id=consequence_id(event.id, row.notice, by),
            complaint_id=event.data.complaint_id,
            reference=event.data.reference,
            event=event.id,
            notice=row.notice,
            by=by,
            facts=facts,
            state="waiting",
            due=event.data.at,
            traceparent=event.traceparent,
        )
        for row in rows
        for by in row.by
    ]
    return [addressed(notice, contact, event.data.at) for notice in made] if contact else made


def addressed(notice: Notice, contact: Contact, at: datetime) -> Notice:
    """A waiting notice when its contact is known: sent from `at` on, or skipped where there is no such address."""
    if contact.address(notice.by):
        return replace(notice, state="pending", language=contact.language, due=at)
    return replace(notice, state="skipped", language=contact.language, reason="no-address", ended_at=at)


def _facts(event: CaseEvent) -> Facts:
    return Facts(
        at=event.at,
        state=event.state,
        nature=event.nature or "complaint",
        administration=event.administration,
        relay_due=event.relay_due,
        answer_due=event.answer_due,
        again=(event.relays or 0) > 1,
        rejection=event.reason if isinstance(event, CaseRejected) else None,
        question=_question(event) if isinstance(event, CaseQuestionAsked) else None,
    )


def _question(event: CaseQuestionAsked) -> Question:
    return event.question if event.asked_by == "triage" and event.question else "administration"
