"""A dossier at the desk: what was forwarded, what followed, what officers have decided, and what it amounts to.

Tracking alone judges what may happen to a case. The desk learns of all that others do to it, and of refusals; of its
own accepted decisions it hears nothing. So its state is its best knowledge: each decision counts once it is sent,
until a follow-up says that it was refused. What may be asked in which state is read from the contracts' table.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, cast, get_args

from chikaya_contracts import states
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.messages.administration import (
    Acknowledge,
    AdministrationDecision,
    Answer,
    AskCitizen,
    DossierFollowUp,
    RequestTransfer,
    Start,
)
from chikaya_contracts.messages.routing import DossierForwarded

Action = Literal["acknowledge", "start", "ask", "answer", "transfer"]
ACTIONS: tuple[Action, ...] = get_args(Action)
State = Literal[
    "routed", "acknowledged", "in_progress", "waiting_for_citizen", "answered", "transfer_requested", "reopened",
    "closed", "withdrawn", "transferred",
]  # fmt: skip
"""The case's states that an administration can see, and `transferred`: another holds it now."""
Group = Literal["todo", "waiting", "done"]
GROUPS: tuple[Group, ...] = get_args(Group)

MESSAGES: dict[Action, type[AdministrationDecision]] = {
    "acknowledge": Acknowledge,
    "start": Start,
    "ask": AskCitizen,
    "answer": Answer,
    "transfer": RequestTransfer,
}
_EVENTS: dict[Action, str] = {
    "acknowledge": "acknowledged",
    "start": "started",
    "ask": "question-asked",
    "answer": "answered",
    "transfer": "transfer-requested",
}
_ENDED: dict[str, State] = {
    "withdrawn": "withdrawn",
    "rated": "closed",
    "closed": "closed",
    "reopened": "reopened",
    "transferred": "transferred",
}
"""Follow-ups that set the state, whatever the desk believed before."""
_WORKED_ON: frozenset[State] = frozenset({"routed", "acknowledged", "in_progress", "waiting_for_citizen", "reopened"})
_TODO: frozenset[State] = frozenset({"routed", "acknowledged", "in_progress", "reopened"})
_RUNNING: frozenset[State] = _TODO | {"transfer_requested"}

SENDING = timedelta(seconds=30)
"""For how long a decision that is being sent keeps a colleague from sending another."""


class NotAllowed(Exception):
    """`state`: not in this state. `busy`: a colleague is sending a decision at this moment. `used`: this form has
    already been sent, with other words."""

    def __init__(self, reason: Literal["state", "busy", "used"]) -> None:
        super().__init__(f"not allowed: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The dossier came by routing's decision number `decision`."""

    id: str
    decision: int
    at: datetime


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What tracking told of the case; `sequence` is that of the case's event."""

    id: str
    kind: str
    sequence: int
    at: datetime
    text: str | None = None
    score: int | None = None
    answer_due: datetime | None = None
    request: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What an officer has decided. `form` is the id of the form that it came by; `sent` once Kafka has it."""

    id: str
    form: str
    action: Action
    at: datetime
    officer: str
    officer_name: str
    text: str | None = None
    proposed: str | None = None
    sent: bool = False


Entry: TypeAlias = Forwarding | FollowUp | Made


@dataclass(frozen=True)
class DossierFile:
    """All that the desk keeps of one complaint for one administration. `version` counts writes.

    `dossier` is the latest that was forwarded; None while only follow-ups have come. `entries` are in the order in
    which they count.
    """

    complaint_id: str
    administration: str
    version: int = 0
    dossier: DossierForwarded | None = None
    entries: tuple[Entry, ...] = ()

    def made(self, id: str) -> Made | None:
        """The decision with that id."""
        return next((entry for entry in self.entries if isinstance(entry, Made) and entry.id == id), None)

    @property
    def standing(self) -> "Standing | None":
        """What the entries amount to; None before the dossier itself."""
        return _standing(self.dossier, self.entries) if self.dossier else None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a dossier stands. `refused` names each refused decision with the follow-up that says why."""

    state: State
    answer_due: datetime
    refused: dict[str, FollowUp]

    @property
    def group(self) -> Group:
        """Which list it is in."""
        if self.state in _TODO:
            return "todo"
        return "waiting" if self.state == "waiting_for_citizen" else "done"

    @property
    def allowed(self) -> tuple[Action, ...]:
        """What an officer may do now."""
        return tuple(action for action in ACTIONS if _next(action, self.state))

    def late(self, now: datetime) -> bool:
        """Whether the answer is overdue. The clock stands while the citizen's answer is awaited."""
        return self.state in _RUNNING and now > self.answer_due


def _next(action: Action, state: State) -> State | None:
    """The state after `action`, or None where the table of states does not let an administration do it."""
    for row in states.allowed(_EVENTS[action], state):
        if "administration" in row.by:
            return cast(State, row.to)
    return None


# -- taking in --------------------------------------------------------------------------------------------------------


def receive(file: DossierFile, event: Event[Message]) -> DossierFile:
    """`file` after what came from the inbox; the same file for a repeat.

    A follow-up may come before its dossier, and, replayed by an operator, after later ones: it is put in its place.
    """
    match event.data:
        case DossierForwarded() as dossier:
            return _forwarded(file, dossier, Forwarding(event.id, dossier.decision, event.time))
        case DossierFollowUp() as told:
            return _followed(
                file,
                FollowUp(
                    id=event.id,
                    kind=told.kind,
                    sequence=told.sequence,
                    at=told.at,
                    text=told.text,
                    score=told.score,
                    answer_due=told.answer_due,
                    request=told.request,
                    reason=told.reason,
                ),
            )
        case other:
            raise TypeError(f"{other.TYPE} is nothing that an inbox holds")


def _forwarded(file: DossierFile, dossier: DossierForwarded, entry: Forwarding) -> DossierFile:
    known = [e for e in file.entries if isinstance(e, Forwarding)]
    if any(e.id == entry.id or e.decision == entry.decision for e in known):
        return file
    if not known:
        return replace(file, dossier=dossier, entries=(entry, *file.entries))
    later = (i for i, e in enumerate(file.entries) if isinstance(e, Forwarding) and e.decision > entry.decision)
    newest = file.dossier if file.dossier and file.dossier.decision > entry.decision else dossier
    return replace(file, dossier=newest, entries=_inserted(file.entries, next(later, len(file.entries)), entry))


def _followed(file: DossierFile, entry: FollowUp) -> DossierFile:
    # A case that comes back brings what its citizen added before, under new ids: one event of a case is told once.
    if any(isinstance(e, FollowUp) and (e.id == entry.id or e.sequence == entry.sequence) for e in file.entries):
        return file
    return replace(file, entries=_inserted(file.entries, _place(file.entries, entry), entry))


def _place(entries: tuple[Entry, ...], entry: FollowUp) -> int:
    later = [i for i, e in enumerate(entries) if isinstance(e, FollowUp) and e.sequence > entry.sequence]
    if entry.kind == "transferred":
        # Routing's new dossier can overtake tracking's word that the first holding has ended.
        again = [i for i, e in enumerate(entries) if isinstance(e, Forwarding)][1:]
        later += [i for i in again if entry.at < entries[i].at]
    return min(later, default=len(entries))


def _inserted(entries: tuple[Entry, ...], place: int, entry: Entry) -> tuple[Entry, ...]:
    return (*entries[:place], entry, *entries[place:])


# -- deciding ---------------------------------------------------------------------------------------------------------


def decision_id(form: str, action: Action, text: str | None, proposed: str | None) -> str:
    """The id of what is decided by a form: the same for the same words, so that sending them again is a repeat."""
    return consequence_id(form, MESSAGES[action].TYPE, f"{text or ''}\n{proposed or ''}")


def decide(file: DossierFile, made: Made) -> DossierFile:
    """`file` with a decision that is about to be sent; the same file for a repeat of one that it has.

    Raises:
        NotAllowed: the state forbids it, or a colleague is sending one at this moment.
    """
    standing = file.standing
    if standing is None:
        raise NotAllowed("state")
    if file.made(made.id):
        return file
    others = [e for e in file.entries if isinstance(e, Made)]
    if any(e.form == made.form and e.sent for e in others):
        raise NotAllowed("used")
    if any(e.form != made.form and not e.sent and made.at - e.at < SENDING for e in others):
        raise NotAllowed("busy")
    if made.action not in standing.allowed:
        raise NotAllowed("state")
    return replace(file, entries=(*file.entries, made))


def sent(file: DossierFile, id: str) -> DossierFile:
    """`file` once Kafka has acknowledged a decision."""
    if not any(isinstance(e, Made) and e.id == id and not e.sent for e in file.entries):
        return file
    entries = tuple(replace(e, sent=True) if isinstance(e, Made) and e.id == id else e for e in file.entries)
    return replace(file, entries=entries)


def message(file: DossierFile, made: Made) -> AdministrationDecision:
    """What is published of a decision."""
    model = MESSAGES[made.action]
    words = {name: getattr(made, name) for name in ("text", "proposed") if name in model.model_fields}
    return model.model_validate(
        {"complaint_id": file.complaint_id, "administration": file.administration, "officer": made.officer, **words}
    )


# -- what it amounts to -----------------------------------------------------------------------------------------------


def _standing(dossier: DossierForwarded, entries: tuple[Entry, ...]) -> Standing:
    refused = dict(_refusals(entries))
    state: State = "routed"
    due = dossier.answer_due
    for entry in entries:
        match entry:
            case Forwarding():
                state = "routed"
            case Made(sent=True, action=action) if entry.id not in refused:
                state = _next(action, state) or state
            case FollowUp(kind=kind):
                if kind in _ENDED:
                    state = _ENDED[kind]
                elif kind == "question-answered" and state in _WORKED_ON:
                    state = "in_progress"
                # Deadlines move forward only: by the citizen's pauses, and by a reopening.
                due = max(due, entry.answer_due or due)
    return Standing(state, due, refused)


def _refusals(entries: tuple[Entry, ...]) -> Iterator[tuple[str, FollowUp]]:
    """Each refused decision with its refusal: the latest of the kind that was made before and is not refused yet."""
    open_: list[Made] = []
    for entry in entries:
        if isinstance(entry, Made):
            open_.append(entry)
        elif isinstance(entry, FollowUp) and entry.kind == "refused":
            found = next((m for m in reversed(open_) if entry.request == MESSAGES[m.action].TYPE), None)
            if found:
                open_.remove(found)
                yield found.id, entry
