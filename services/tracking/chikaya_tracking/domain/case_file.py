"""A case with all that is kept of it: its history, its texts, what waits for a predecessor, what each cause led to.

The only way in is `receive`: it takes a cause from any topic, any number of times, in any order of the topics.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from chikaya_contracts import topics
from chikaya_contracts.envelope import Message
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.messages.administration import AdministrationDecision, DossierFollowUp
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import (
    CaseClosed,
    CaseDeadlineBreached,
    CaseDeadlineWarned,
    CaseEvent,
    CaseQuestionAnswered,
    CaseRated,
    CaseRejected,
    CaseReopened,
    CaseRequestRefused,
    CaseRouted,
    CaseSupplemented,
    CaseTriaged,
    CaseWithdrawn,
)
from chikaya_contracts.messages.requests import ClockReached, ComplaintSupplemented
from chikaya_contracts.messages.routing import ComplaintRouted, Decision

from .case import Case, Cause, NotAllowed, Rules, asker, decide, event_id, evolve, fold, refusal, text_id

MAX_PARKED = 200
"""More than this waiting for one case is no lateness, and would outgrow a document: the next is a dead letter."""

Kind = Literal[
    "question-answered", "supplemented", "withdrawn", "rated", "reopened", "closed", "transferred", "refused",
    "deadline-warned", "deadline-breached",
]  # fmt: skip
_FOLLOWED: dict[type[CaseEvent], Kind] = {
    CaseQuestionAnswered: "question-answered",
    CaseSupplemented: "supplemented",
    CaseWithdrawn: "withdrawn",
    CaseRated: "rated",
    CaseReopened: "reopened",
    CaseClosed: "closed",
    CaseDeadlineWarned: "deadline-warned",
    CaseDeadlineBreached: "deadline-breached",
}
"""What the holder of a case is told of, by the event that happened."""


class TooMuchParked(Exception):
    """Hundreds of messages wait for a complaint that nobody has submitted, or for a decision that never came."""


@dataclass(frozen=True, slots=True)
class Told:
    """A follow-up that an administration got: about which event of the history. Words are looked up when sent."""

    administration: str
    kind: Kind
    sequence: int


@dataclass(frozen=True, slots=True)
class Applied:
    """A cause that has been decided, and what it led to, so that a repeat can say it all again.

    `released` are the causes that had been parked until this one.
    """

    topic: str
    id: str
    sequences: tuple[int, ...] = ()
    told: tuple[Told, ...] = ()
    to_routing: int | None = None
    decision: int | None = None
    released: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """An id is its sender's: it counts within its topic only."""
        return self.topic, self.id


@dataclass(frozen=True, slots=True)
class Consequence:
    """A message to publish: what is said when the history reaches `sequence`.

    `inbox` is for follow-ups: the topic that `administration` was last seen to use.
    """

    sequence: int
    id: str
    at: datetime
    data: Message
    administration: str | None = None
    inbox: str | None = None


@dataclass(frozen=True)
class CaseFile:
    """All that is kept of one complaint. `version` counts writes; `case` is the fold of `history`."""

    complaint_id: str
    version: int = 0
    filing: ComplaintSubmitted | None = None
    history: tuple[CaseEvent, ...] = ()
    texts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    applied: tuple[Applied, ...] = ()
    parked: tuple[Cause, ...] = ()
    inboxes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    case: Case | None = None

    @classmethod
    def restored(cls, **kept: object) -> "CaseFile":
        """A file as it was stored: the case is folded from its history."""
        file = cls(**kept)  # type: ignore[arg-type]
        return replace(file, case=fold(file.history))

    @property
    def decisions(self) -> int:
        """The number of the last routing decision that has been applied."""
        return max((a.decision for a in self.applied if a.decision is not None), default=0)

    def find(self, topic: str, id: str) -> Applied | None:
        """What this cause led to, if it has been decided."""
        return next((applied for applied in self.applied if applied.key == (topic, id)), None)

    def text(self, key: str | None) -> str | None:
        """The words behind a `text_id`."""
        return self.texts.get(key) if key else None


# -- taking in --------------------------------------------------------------------------------------------------------


def receive(file: CaseFile, cause: Cause, rules: Rules) -> CaseFile:
    """`file` after `cause` and after all parked causes that it lets in; the same file for a repeat.

    Raises:
        TooMuchParked: the cause would have to wait, and too many wait already.
    """
    if remembered(file, cause) or any(_key(p) == _key(cause) for p in file.parked):
        return file
    if _waits(file, cause):
        if len(file.parked) >= MAX_PARKED:
            raise TooMuchParked(f"{len(file.parked)} messages wait already for complaint {file.complaint_id}")
        return replace(file, parked=(*file.parked, cause))
    after = _apply(file, cause, rules)
    released: list[tuple[str, str]] = []
    while let_in := next((p for p in after.parked if not _waits(after, p)), None):
        after = replace(after, parked=tuple(p for p in after.parked if p is not let_in))
        if not remembered(after, let_in):
            after = _apply(after, let_in, rules)
            released.append(_key(let_in))
    if released:
        noted = tuple(replace(a, released=tuple(released)) if a.key == _key(cause) else a for a in after.applied)
        after = replace(after, applied=noted)
    return after


def remembered(file: CaseFile, cause: Cause) -> Applied | None:
    """What `cause` led to when it came first: it, or the same submission or numbered decision under another id."""
    match cause.data:
        case ComplaintSubmitted() if file.filing:
            return next(a for a in file.applied if a.topic == topics.SUBMITTED.name)
        case Decision(decision=number):
            return next((a for a in file.applied if a.decision == number), None)
        case _:
            return file.find(*_key(cause))


def _key(cause: Cause) -> tuple[str, str]:
    return cause.topic, cause.id


def _waits(file: CaseFile, cause: Cause) -> bool:
    """Whether something that must come before `cause` has not come yet."""
    match cause.data:
        case ComplaintSubmitted():
            return False
        case _ if file.case is None:
            return True
        case Decision(decision=number):
            return number > file.decisions + 1
        case AdministrationDecision():
            # Its dossier may have reached an administration before the decision reaches us.
            return file.case.undecided
        case _:
            return False


def _apply(file: CaseFile, cause: Cause, rules: Rules) -> CaseFile:
    before = file.case
    try:
        events = decide(before, cause, rules)
    except NotAllowed as no:
        assert before is not None  # noqa: S101 (what comes before the receipt waits)
        events = [refusal(before, cause, no.reason, rules)]
    if not events and isinstance(cause.data, ClockReached):
        return file  # an alarm that no longer holds may hold again later: it is not remembered
    texts, inboxes = dict(file.texts), dict(file.inboxes)
    words = getattr(cause.data, "text", None)
    if words and any(getattr(event, "text_id", None) == text_id(cause) for event in events):
        texts[text_id(cause)] = words
    match cause.data:
        case ComplaintRouted(administration=administration, inbox=inbox):
            inboxes[administration] = inbox
        case AdministrationDecision():
            inboxes.setdefault(asker(cause), cause.topic.replace(".outbox.", ".inbox."))
    after = replace(
        file,
        filing=cause.data if isinstance(cause.data, ComplaintSubmitted) else file.filing,
        history=(*file.history, *events),
        texts=MappingProxyType(texts),
        inboxes=MappingProxyType(inboxes),
    )
    told: list[Told] = []
    to_routing: int | None = None
    case = before
    for event in events:
        told += _told(after, case, cause, event)
        if isinstance(event, CaseSupplemented | CaseQuestionAnswered) and case and case.undecided:
            to_routing = event.sequence
        case = evolve(case, event)
    applied = Applied(
        topic=cause.topic,
        id=cause.id,
        sequences=tuple(event.sequence for event in events),
        told=tuple(told),
        to_routing=to_routing,
        decision=cause.data.decision if isinstance(cause.data, Decision) else None,
    )
    return replace(after, case=case, applied=(*after.applied, applied))


def _told(file: CaseFile, before: Case | None, cause: Cause, event: CaseEvent) -> Iterator[Told]:
    """Which administrations are told of `event`, and as what."""
    holder = before.holder if before else None
    match event:
        case CaseRequestRefused(sequence=sequence):
            if isinstance(cause.data, AdministrationDecision):
                yield Told(asker(cause), "refused", sequence)
            elif isinstance(cause.data, ComplaintRouted) and cause.data.administration != holder:
                gone: Kind = "withdrawn" if event.reason == "withdrawn-meanwhile" else "transferred"
                yield Told(cause.data.administration, gone, sequence)
            elif isinstance(cause.data, ComplaintRouted) and event.reason == "withdrawn-meanwhile":
                yield Told(cause.data.administration, "withdrawn", sequence)
        case CaseRouted(sequence=sequence, administration=str(administration)):
            if holder and holder != administration:
                yield Told(holder, "transferred", sequence)
            if holder != administration:
                # The dossier holds only the first text: the new holder is sent all that was added since.
                for earlier in file.history:
                    if earlier.sequence < sequence and isinstance(earlier, CaseSupplemented | CaseQuestionAnswered):
                        yield Told(administration, "supplemented", earlier.sequence)
        case CaseTriaged(sequence=sequence) if holder:
            yield Told(holder, "transferred", sequence)
        case CaseRejected(sequence=sequence) if holder:
            yield Told(holder, "closed", sequence)
        case _ if holder and type(event) in _FOLLOWED:
            yield Told(holder, _FOLLOWED[type(event)], event.sequence)


# -- saying what followed ---------------------------------------------------------------------------------------------


def consequences(file: CaseFile, cause: Cause) -> list[Consequence]:
    """All that followed from `cause`, and from what it let in; with the same ids each time. Empty while it waits."""
    applied = remembered(file, cause)
    if applied is None:
        return []
    released = [found for key in applied.released if (found := file.find(*key))]
    return [one for each in (applied, *released) for one in _consequences(file, each)]


def _consequences(file: CaseFile, applied: Applied) -> Iterator[Consequence]:
    for sequence in applied.sequences:
        event = file.history[sequence - 1]
        yield Consequence(sequence, event_id(event), event.at, event)
    if applied.to_routing:
        event = file.history[applied.to_routing - 1]
        yield Consequence(
            event.sequence,
            consequence_id(applied.id, ComplaintSupplemented.TYPE),
            event.at,
            ComplaintSupplemented(
                complaint_id=file.complaint_id,
                at=event.at,
                text=file.text(getattr(event, "text_id", None)) or "",
            ),
        )
    for told in applied.told:
        event = file.history[told.sequence - 1]
        refused = event if isinstance(event, CaseRequestRefused) and told.kind == "refused" else None
        target = f"{told.administration}/{told.kind}/{told.sequence}"
        yield Consequence(
            applied.sequences[-1],
            consequence_id(applied.id, DossierFollowUp.TYPE, target),
            event.at,
            DossierFollowUp(
                complaint_id=file.complaint_id,
                reference=event.reference,
                administration=told.administration,
                kind=told.kind,
                at=event.at,
                sequence=told.sequence,
                text=file.text(getattr(event, "text_id", None)) if told.kind in _WORDS else None,
                score=getattr(event, "score", None),
                answer_due=getattr(event, "answer_due", None) or getattr(event, "due", None),
                request=refused.request if refused else None,
                reason=refused.reason if refused else None,
            ),
            administration=told.administration,
            inbox=file.inboxes.get(told.administration),
        )


_WORDS: frozenset[Kind] = frozenset({"question-answered", "supplemented", "withdrawn", "rated", "reopened"})
