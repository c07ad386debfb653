"""The life of a complaint: which request is allowed when, and what follows from it.

Sources: decree 2-17-265 (15 days to relay, 60 to answer, see `legal_time`); the table of states in the contracts,
which alone says what may happen in which state and by whose hand. No IO, no clock of its own.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args

from chikaya_contracts import legal_time, states, topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.messages.administration import (
    Acknowledge,
    AdministrationDecision,
    Answer,
    AskCitizen,
    RequestTransfer,
    Start,
)
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import (
    CaseAcknowledged,
    CaseAnswered,
    CaseClosed,
    CaseDeadlineBreached,
    CaseDeadlineWarned,
    CaseEvent,
    CaseQuestionAnswered,
    CaseQuestionAsked,
    CaseRated,
    CaseReceived,
    CaseRejected,
    CaseReopened,
    CaseRequestRefused,
    CaseRouted,
    CaseStarted,
    CaseSupplemented,
    CaseTransferRequested,
    CaseTriaged,
    CaseWithdrawn,
)
from chikaya_contracts.messages.requests import (
    AnswerQuestion,
    CaseRequest,
    ClockReached,
    Rate,
    Reopen,
    Supplement,
    Threshold,
    Withdraw,
)
from chikaya_contracts.messages.routing import (
    ClarificationAsked,
    ComplaintInadmissible,
    ComplaintRouted,
    ComplaintTriaged,
    Decision,
)
from chikaya_contracts.states import Actor, StateName
from chikaya_contracts.submission import Nature

Reason = Literal["state", "not-holder", "already-reopened", "too-late", "already-rated", "withdrawn-meanwhile"]
REASONS: tuple[Reason, ...] = get_args(Reason)
Cause: TypeAlias = Event[Message]
"""A submission, a routing decision, an administration's decision or a request, as it came from its topic."""

WAITING: StateName = "waiting_for_citizen"
BREACHED = CaseDeadlineBreached.short_name()


class NotAllowed(Exception):
    """The case's state, or the asker's role, forbids what is asked; `reason` is one of `REASONS`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"not allowed: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Rules:
    """Delays that a coordinator may set, in civil days. The decree's own delays are in `legal_time`."""

    warn_days: int = 10
    reopen_days: int = 30


@dataclass(frozen=True, slots=True)
class Case:
    """What the history of a complaint amounts to.

    `asked_by` and `asked_at` are set while the citizen's answer is awaited; `pauses` are those of the present round,
    which began at `round_start`: the receipt, or the reopening. `relays` counts the administrations that it went to.
    `rung` are the alarms already told. All times UTC.
    """

    complaint_id: str
    reference: str
    state: StateName
    sequence: int
    at: datetime
    received_at: datetime
    round_start: datetime
    nature: Nature
    relay_due: datetime
    answer_due: datetime
    holder: str | None = None
    relays: int = 0
    relayed_at: datetime | None = None
    asked_by: Literal["administration", "triage"] | None = None
    asked_at: datetime | None = None
    pauses: tuple[tuple[datetime, datetime], ...] = ()
    answered_at: datetime | None = None
    reopened: bool = False
    rating: int | None = None
    rung: frozenset[tuple[Threshold, datetime]] = frozenset()

    @property
    def undecided(self) -> bool:
        """Whether routing's next decision is still awaited, so that nobody knows yet who will hold the case."""
        return self.state in ("received", "triage", "transfer_requested") or self.asked_by == "triage"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A moment at which the clock must speak. `due` is the deadline that it speaks of."""

    moment: datetime
    threshold: Threshold
    due: datetime


# -- deciding ---------------------------------------------------------------------------------------------------------


def decide(case: Case | None, cause: Cause, rules: Rules) -> list[CaseEvent]:
    """What happens to `case` because of `cause`; nothing for an alarm of the clock that no longer holds.

    A deadline that passed before the cause, and that the clock has not told yet, is told first.

    Raises:
        NotAllowed: the case's state, the asker's role, or who holds the case forbids it.
    """
    if isinstance(cause.data, ComplaintSubmitted):
        return [_received(cause.data, cause.id)] if case is None else []
    if case is None:
        raise NotAllowed("state")
    if isinstance(cause.data, ClockReached):
        return list(_rings(case, cause.data, cause.id, rules))
    late: list[CaseEvent] = []
    at = effective_at(cause)
    for alarm in alarms(case, rules) if at > min(case.relay_due, case.answer_due) else ():
        if alarm.threshold in ("relay-breached", "answer-breached") and alarm.moment <= at:
            event = _Happening(case, cause, "clock", rules).event(
                CaseDeadlineBreached, threshold=alarm.threshold, due=alarm.due
            )
            late.append(event)
            case = evolve(case, event)
    return [*late, _decide(case, cause, rules)]


def refusal(case: Case, cause: Cause, reason: Reason, rules: Rules) -> CaseRequestRefused:
    """The record that `cause` was refused, by whom it was asked, and why."""
    return _Happening(case, cause, "tracking", rules).event(
        CaseRequestRefused, request=cause.type, by=asker(cause), reason=reason
    )


def effective_at(cause: Cause) -> datetime:
    """The legal time of a cause: the receipt, the decision's date, the broker's time for an outbox (`Event.time`)."""
    match cause.data:
        case ComplaintSubmitted(received_at=at) | CaseRequest(at=at) | Decision(decided_at=at):
            return at
        case _:
            return cause.time


_OUTBOX = re.compile(topics.OUTBOX.pattern)


def asker(cause: Cause) -> str:
    """Who asks: `citizen`, `agent`, `clock`, `routing`, or the slug of an administration.

    An administration with a topic pair of its own is known by its topic, whatever the message says; on the desk's
    shared topic, which desk alone can write, the message names it.
    """
    match cause.data:
        case CaseRequest(by=by):
            return by
        case AdministrationDecision(administration=named):
            topic = _OUTBOX.match(cause.topic)
            return named if topic is None or topic[1] == topics.DESK else topic[1]
        case _:
            return "routing"


def text_id(cause: Cause) -> str:
    """The key in the case's texts of the words that came with `cause`."""
    return consequence_id(cause.id, "text")


def _decide(case: Case, cause: Cause, rules: Rules) -> CaseEvent:
    match cause.data:
        case Decision() as decision:
            return _routing(case, decision, _Happening(case, cause, "routing", rules))
        case AdministrationDecision() as answer:
            if asker(cause) != answer.administration or answer.administration != case.holder:
                raise NotAllowed("not-holder")
            return _administration(answer, _Happening(case, cause, "administration", rules))
        case CaseRequest(by=by) as request:
            return _request(case, request, _Happening(case, cause, by, rules))
        case other:
            raise TypeError(f"{other.TYPE} is nothing that a case decides on")


def _routing(case: Case, decision: Decision, it: "_Happening") -> CaseEvent:
    if case.state == WAITING and case.asked_by != "triage":
        raise NotAllowed("state")
    match decision:
        case ComplaintRouted(decision=number, administration=administration):
            return it.event(CaseRouted, decision=number, administration=administration)
        case ComplaintTriaged(decision=number, reason=reason):
            return it.event(CaseTriaged, decision=number, reason=reason, administration=None)
        case ComplaintInadmissible(decision=number, reason=why):
            return it.event(CaseRejected, decision=number, reason=why, administration=None)
        case ClarificationAsked(question=question):
            return it.event(CaseQuestionAsked, asked_by="triage", question=question)
        case other:
            raise TypeError(f"{other.TYPE} is no decision of routing's that this case knows")


def _administration(decision: AdministrationDecision, it: "_Happening") -> CaseEvent:
    match decision:
        case Acknowledge():
            return it.event(CaseAcknowledged)
        case Start():
            return it.event(CaseStarted)
        case AskCitizen():
            return it.event(CaseQuestionAsked, asked_by="administration", text_id=it.text_id)
        case Answer():
            return it.event(CaseAnswered, text_id=it.text_id)
        case RequestTransfer(proposed=proposed):
            return it.event(CaseTransferRequested, text_id=it.text_id, proposed=proposed)
        case other:
            raise TypeError(f"{other.TYPE} is no decision of an administration's that this case knows")


def _request(case: Case, request: CaseRequest, it: "_Happening") -> CaseEvent:
    match request:
        case AnswerQuestion():
            due = _answer_due(case.round_start, _pauses_at(case, it.at))
            return it.event(CaseQuestionAnswered, text_id=it.text_id, answer_due=due)
        case Supplement():
            return it.event(CaseSupplemented, text_id=it.text_id)
        case Withdraw(text=text):
            return it.event(CaseWithdrawn, text_id=it.text_id if text else None)
        case Rate(score=score, text=text):
            return it.event(CaseRated, score=score, text_id=it.text_id if text else None)
        case Reopen():
            return it.event(CaseReopened, text_id=it.text_id, answer_due=_answer_due(it.at, ()))
        case other:
            raise TypeError(f"{other.TYPE} is no request that this case knows")


def _received(filed: ComplaintSubmitted, cause: str) -> CaseReceived:
    due = legal_time.deadlines(filed.received_at)
    return CaseReceived(
        complaint_id=filed.complaint_id,
        reference=filed.reference,
        sequence=1,
        at=filed.received_at,
        state="received",
        cause=cause,
        channel=filed.channel,
        nature=filed.nature,
        language=filed.language,
        relay_due=due.relay,
        answer_due=due.answer,
        relays=0,
    )


def _rings(case: Case, reached: ClockReached, cause: str, rules: Rules) -> Iterator[CaseEvent]:
    alarm = next((a for a in alarms(case, rules) if (a.threshold, a.due) == (reached.threshold, reached.due)), None)
    if alarm is None or reached.at < alarm.moment:
        return
    it = _Happening(case, Event(cause, "", reached.at, reached, topics.REQUESTS.name), "clock", rules)
    if alarm.threshold == "close":
        yield it.event(CaseClosed)
    elif alarm.threshold == "answer-warned":
        if reached.at <= alarm.due:
            yield it.event(CaseDeadlineWarned, threshold=alarm.threshold, due=alarm.due)
    else:
        yield it.event(CaseDeadlineBreached, threshold=alarm.threshold, due=alarm.due)


E = TypeVar("E", bound=CaseEvent)


class _Happening:
    """Makes the event that follows from one cause, if the table of states has a row for it."""

    def __init__(self, case: Case, cause: Cause, by: Actor, rules: Rules) -> None:
        self.case, self.cause, self.by, self.rules = case, cause, by, rules
        # A sender's clock may lag: the history's times never run backwards.
        self.at = max(effective_at(cause), case.at)

    @property
    def text_id(self) -> str:
        return text_id(self.cause)

    def event(self, kind: type[E], **fields: Any) -> E:
        """Raises NotAllowed: no row allows it, or the row's condition does not hold."""
        fields.setdefault("administration", self.case.holder)
        event = kind(
            complaint_id=self.case.complaint_id,
            reference=self.case.reference,
            sequence=self.case.sequence + 1,
            at=self.at,
            state=self._state(kind),
            cause=self.cause.id,
            **fields,
        )
        after = evolve(self.case, event)
        known = {name: getattr(after, name) for name in ("nature", "relay_due", "answer_due", "relays")}
        return event.model_copy(update=known)

    def _state(self, kind: type[CaseEvent]) -> StateName:
        reason: Reason | None = "state"
        for row in states.allowed(kind.short_name(), self.case.state):
            if self.by in row.by:
                reason = CONDITIONS[row.when](self.case, self.at, self.rules)
                if reason is None:
                    return self.case.state if row.to == "same" else cast(StateName, row.to)
        if self.case.state == "withdrawn" and self.by in ("routing", "administration"):
            reason = "withdrawn-meanwhile"
        raise NotAllowed(reason or "state")


def _reopening(case: Case, at: datetime, rules: Rules) -> Reason | None:
    if case.reopened:
        return "already-reopened"
    return "too-late" if at > objection_until(case, rules) else None


CONDITIONS: dict[str, Callable[[Case, datetime, Rules], Reason | None]] = {
    "": lambda case, at, rules: None,
    "asked by the administration": lambda case, at, rules: None if case.asked_by == "administration" else "state",
    "asked in triage": lambda case, at, rules: None if case.asked_by == "triage" else "state",
    "not yet rated": lambda case, at, rules: None if case.rating is None else "already-rated",
    "once, within 30 days of the answer": _reopening,
    "30 days after the answer": lambda case, at, rules: None if at > objection_until(case, rules) else "state",
}
"""What the `when` of a row in the table of states means: None if it holds, else why not."""


# -- what has happened ------------------------------------------------------------------------------------------------


def evolve(case: Case | None, event: CaseEvent) -> Case:
    """`case` after `event`. Total over what `decide` gives; an event that it has seen changes nothing."""
    if case is None:
        if not isinstance(event, CaseReceived):
            raise ValueError(f"a history begins with the receipt, not with {event.short_name()}")
        return Case(
            complaint_id=event.complaint_id,
            reference=event.reference,
            state=event.state,
            sequence=event.sequence,
            at=event.at,
            received_at=event.at,
            round_start=event.at,
            nature=event.nature,
            relay_due=event.relay_due,
            answer_due=event.answer_due,
        )
    if event.sequence <= case.sequence:
        return case
    after: dict[str, Any] = {
        "state": event.state, "sequence": event.sequence, "at": event.at, "holder": event.administration
    }  # fmt: skip
    if case.state == WAITING and event.state != WAITING:
        pauses = _pauses_at(case, event.at)
        after |= {"asked_by": None, "asked_at": None, "pauses": pauses}
        after["answer_due"] = _answer_due(case.round_start, pauses)
    match event:
        case CaseRouted():
            after |= {"relayed_at": case.relayed_at or event.at, "relays": case.relays + 1}
        case CaseQuestionAsked():
            after |= {"asked_by": event.asked_by, "asked_at": event.at}
        case CaseQuestionAnswered():
            after["answer_due"] = event.answer_due
        case CaseAnswered():
            after["answered_at"] = event.at
        case CaseRated():
            after["rating"] = event.score
        case CaseReopened():
            after |= {"reopened": True, "rating": None, "answered_at": None, "pauses": ()}
            after |= {"round_start": event.at, "answer_due": event.answer_due}
            after["rung"] = frozenset((t, due) for t, due in case.rung if t == "relay-breached")
        case CaseDeadlineWarned() | CaseDeadlineBreached():
            after["rung"] = case.rung | {(event.threshold, event.due)}
    return replace(case, **after)


def fold(history: Iterable[CaseEvent]) -> Case | None:
    """The case that a history amounts to; None before the receipt."""
    case: Case | None = None
    for event in history:
        case = evolve(case, event)
    return case


def event_id(event: CaseEvent) -> str:
    """The id of a lifecycle event: the same each time that its cause is delivered."""
    return consequence_id(event.cause, event.TYPE, vars(event).get("threshold", ""))


# -- the legal clock --------------------------------------------------------------------------------------------------


def alarms(case: Case, rules: Rules) -> list[Alarm]:
    """What the clock has yet to say of this case, soonest first. It stands while the citizen's answer is awaited."""
    if case.state == "answered":
        until = objection_until(case, rules)
        return [Alarm(_just_after(until), "close", until)]
    if not states.allowed(BREACHED, case.state):
        return []
    found: list[Alarm] = []
    told = {threshold for threshold, _ in case.rung}
    if case.relayed_at is None and "relay-breached" not in told:
        found.append(Alarm(_just_after(case.relay_due), "relay-breached", case.relay_due))
    if case.state != WAITING and "answer-breached" not in told:
        if ("answer-warned", case.answer_due) not in case.rung:
            found.append(Alarm(case.answer_due - timedelta(days=rules.warn_days), "answer-warned", case.answer_due))
        found.append(Alarm(_just_after(case.answer_due), "answer-breached", case.answer_due))
    return sorted(found, key=lambda alarm: alarm.moment)


def armed(before: Case | None, after: Case | None, rules: Rules) -> datetime | None:
    """When the clock has to look at a case, if a change has made that sooner than it was; a later moment needs no word,
    since the clock sees it when it looks at the earlier one."""
    then, now = (next(iter(alarms(case, rules)), None) if case else None for case in (before, after))
    return now.moment if now and (then is None or now.moment < then.moment) else None


def objection_until(case: Case, rules: Rules) -> datetime:
    """The last instant at which an answered case can be reopened; it is closed after that."""
    return legal_time.last_instant(case.answered_at or case.at, rules.reopen_days)


def _just_after(instant: datetime) -> datetime:
    return instant + timedelta(seconds=1)


def _pauses_at(case: Case, at: datetime) -> tuple[tuple[datetime, datetime], ...]:
    return (*case.pauses, (case.asked_at, at)) if case.asked_at else case.pauses


def _answer_due(start: datetime, pauses: tuple[tuple[datetime, datetime], ...]) -> datetime:
    return legal_time.deadlines(start, pauses).answer
