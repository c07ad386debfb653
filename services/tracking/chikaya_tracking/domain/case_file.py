"""A case with all that is kept of it: its history, its texts, what waits for a predecessor, what each cause led to.

The only way in is `receive`: it takes a cause from any topic, any number of times, in any order of the topics.
"""

from collections.abc import Iterator, Mapping, Sequence
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

from .case import Case, Cause, NotAllowed, Rules, asker, decide, event_id, evolve, fold, refusal

MAX_PARKED = 50
"""What may wait for one case from one topic: an administration has five decisions to make of a complaint, not fifty."""

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
    """Dozens of our own messages wait for a complaint that nobody has submitted, or for a decision that never came."""


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
    """All that is kept of one complaint. `version` counts writes; `case` is the fold of `history`.

    Only ever added to, but for `parked`, of which what has been let in is gone. `overflowed` are the outboxes that
    have sent too much for a complaint that nobody has submitted.
    """

    complaint_id: str
    version: int = 0
    filing: ComplaintSubmitted | None = None
    history: tuple[CaseEvent, ...] = ()
    texts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    applied: tuple[Applied, ...] = ()
    parked: tuple[Cause, ...] = ()
    inboxes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    overflowed: frozenset[str] = frozenset()
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

    def knows(self, cause: Cause) -> bool:
        """Whether this cause has been decided, or waits here."""
        return remembered(self, cause) is not None or self.parks(cause)

    def parks(self, cause: Cause) -> bool:
        """Whether this cause waits here."""
        return any(key(parked) == key(cause) for parked in self.parked)

    def text(self, text_id: str | None) -> str | None:
        """The words behind a `text_id`."""
        return self.texts.get(text_id) if text_id else None


# -- taking in --------------------------------------------------------------------------------------------------------


def receive(file: CaseFile, cause: Cause, rules: Rules) -> CaseFile:
    """`file` after `cause` and after all parked causes that it lets in; the same file for a repeat.

    Raises:
        TooMuchParked: the cause would have to wait, and too many of its topic wait already.
    """
    if file.knows(cause):
        return file
    if waits_for(file, cause):
        return _park(file, cause, rules)
    after = _apply(file, cause, rules)
    released: list[tuple[str, str]] = []
    while let_in := next((p for p in after.parked if not waits_for(after, p)), None):
        after = replace(after, parked=tuple(p for p in after.parked if p is not let_in))
        if not remembered(after, let_in):
            after = _apply(after, let_in, rules)
            released.append(key(let_in))
    if released:
        noted = tuple(replace(a, released=tuple(released)) if a.key == key(cause) else a for a in after.applied)
        after = replace(after, applied=noted)
    return after


def _park(file: CaseFile, cause: Cause, rules: Rules) -> CaseFile:
    if sum(parked.topic == cause.topic for parked in file.parked) < MAX_PARKED:
        return replace(file, parked=(*file.parked, cause))
    # An administration's excess is its own loss, and no outage: it is refused, with a record, and harms nobody else.
    if not isinstance(cause.data, AdministrationDecision):
        raise TooMuchParked(f"{MAX_PARKED} messages of {cause.topic} wait already for complaint {file.complaint_id}")
    if file.case:
        return _recorded(file, cause, [refusal(file.case, cause, "state", rules)])
    return file if cause.topic in file.overflowed else replace(file, overflowed=file.overflowed | {cause.topic})


def forgotten(file: CaseFile) -> CaseFile:
    """`file` without what waits in it for a submission."""
    return replace(file, parked=(), overflowed=frozenset())


def remembered(file: CaseFile, cause: Cause) -> Applied | None:
    """What `cause` led to when it came first: it, or the same submission or numbered decision under another id."""
    match cause.data:
        case ComplaintSubmitted() if file.filing:
            return next(a for a in file.applied if a.topic == topics.SUBMITTED.name)
        case Decision(decision=number):
            return next((a for a in file.applied if a.decision == number), None)
        case _:
            return file.find(*key(cause))


def key(cause: Cause) -> tuple[str, str]:
    """What tells causes apart: an id is its sender's."""
    return cause.topic, cause.id


def waits_for(file: CaseFile, cause: Cause) -> Literal["submission", "decision"] | None:
    """What must come before `cause` and has not come yet."""
    match cause.data:
        case ComplaintSubmitted():
            return None
        case _ if file.case is None:
            return "submission"
        case Decision(decision=number):
            return "decision" if number > file.decisions + 1 else None
        case AdministrationDecision():
            # Its dossier may have reached an administration before the decision reaches us.
            return "decision" if file.case.undecided else None
        case _:
            return None


def _apply(file: CaseFile, cause: Cause, rules: Rules) -> CaseFile:
    try:
        events = decide(file.case, cause, rules)
    except NotAllowed as no:
        assert file.case is not None  # noqa: S101 (what comes before the receipt waits)
        events = [refusal(file.case, cause, no.reason, rules)]
    if not events and isinstance(cause.data, ClockReached):
        return file  # an alarm that no longer holds may hold again later: it is not remembered
    return _recorded(file, cause, events)


def _recorded(file: CaseFile, cause: Cause, events: Sequence[CaseEvent]) -> CaseFile:
    """`file` with what has happened because of `cause`, and who is told of it."""
    filing, texts, inboxes = file.filing, file.texts, file.inboxes
    words = vars(cause.data).get("text")
    words_id = next((found for event in events if (found := vars(event).get("text_id"))), None)
    if words and words_id:
        texts = MappingProxyType({**texts, words_id: words})
    match cause.data:
        case ComplaintSubmitted():
            filing = cause.data
        case ComplaintRouted(administration=administration, inbox=inbox):
            inboxes = MappingProxyType({**inboxes, administration: inbox})
        case AdministrationDecision():
            if (sender := asker(cause)) not in inboxes:
                inboxes = MappingProxyType({**inboxes, sender: cause.topic.replace(".outbox.", ".inbox.")})
    told: list[Told] = []
    to_routing: int | None = None
    case, history = file.case, (*file.history, *events)
    for event in events:
        told += _told(history, case, cause, event)
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
    return replace(
        file,
        filing=filing,
        history=history,
        texts=texts,
        applied=(*file.applied, applied),
        inboxes=inboxes,
        case=case,
    )


def _told(history: Sequence[CaseEvent], before: Case | None, cause: Cause, event: CaseEvent) -> Iterator[Told]:
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
                for earlier in history:
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
    released = [found for each in applied.released if (found := file.find(*each))]
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
                text=file.text(vars(event).get("text_id")) or "",
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
                text=file.text(vars(event).get("text_id")) if told.kind in _WORDS else None,
                score=vars(event).get("score"),
                answer_due=vars(event).get("answer_due") or vars(event).get("due"),
                request=refused.request if refused else None,
                reason=refused.reason if refused else None,
            ),
            administration=told.administration,
            inbox=file.inboxes.get(told.administration),
        )


_WORDS: frozenset[Kind] = frozenset({"question-answered", "supplemented", "withdrawn", "rated", "reopened"})
