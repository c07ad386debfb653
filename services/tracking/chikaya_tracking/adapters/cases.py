"""What keeps cases, and how a batch changes them: decide in memory, write in one bulk; a write is its own check."""

from abc import ABC, abstractmethod
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from chikaya_contracts.envelope import Event
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.notification import NoticeOutcome
from chikaya_contracts.states import StateName
from chikaya_contracts.submission import Nature

from ..domain.case import Case, Cause, Rules
from ..domain.case_file import CaseFile, Consequence, consequences, forgotten, receive
from ..telemetry import OVERFLOWED
from ..turns import Turns

log = structlog.get_logger()

ROUNDS = 50
RECENT = 2_000
"""Files kept in memory, some 10 kB each: a case that moves again soon is not read again."""


class Contended(Exception):
    """Others wrote a case first, every time."""


class ReferenceTaken(Exception):
    """Two complaints have one reference: intake gave it twice."""


@dataclass(frozen=True, slots=True)
class Change:
    """What some causes do to a file, and what is to be said of it; `after` is `before` if there is nothing to write."""

    before: CaseFile
    after: CaseFile
    causes: Sequence[Cause] = ()
    said: Sequence[tuple[Cause, Consequence]] = ()

    @property
    def complaint_id(self) -> str:
        return self.before.complaint_id


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of a list of cases."""

    complaint_id: str
    reference: str
    nature: Nature
    state: StateName
    received_at: datetime
    administration: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """A case that the clock is to look at by now. `entries` are the store's notes that say so."""

    case: Case
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of the list of what is parked: `cause` waits in `file`; None when it has been let in meanwhile.

    `key` is its place in the list, oldest first.
    """

    key: str
    file: CaseFile
    cause: Cause | None


Say = Callable[[Sequence[tuple[Cause, Consequence]]], Awaitable[None]]


async def _say_nothing(_: Sequence[tuple[Cause, Consequence]]) -> None:
    """For who only takes in."""


class Cases(ABC):
    """The store of cases. What it gives is as it was written; nothing is lost to a race.

    Files that were read or written lately are kept in memory and believed. That is safe since each write is
    conditional on the version that it follows: a belief that is out of date loses, and the case is read and decided
    anew. What a file has recorded never changes; to leave a case as it is for any other reason takes a fresh reading.
    """

    def __init__(self) -> None:
        self._recent: OrderedDict[str, CaseFile] = OrderedDict()
        self._turns = Turns()

    async def transact(
        self, causes: Sequence[Cause], rules: Rules, say: Say = _say_nothing
    ) -> list[tuple[Cause, Consequence]]:
        """Takes causes in, in order for each case, and lets `say` publish what follows of each; gives all of it.

        Raises:
            TooMuchParked: see `receive`.
            ReferenceTaken: see there.
            Contended: a race was lost 50 times.
        """
        waiting: dict[str, list[Cause]] = defaultdict(list)
        for cause in causes:
            waiting[cause.data.key].append(cause)
        believed = self._believed(waiting)
        files = {**await self.load(waiting.keys() - believed.keys()), **believed}
        said: list[tuple[Cause, Consequence]] = []
        for _ in range(ROUNDS):
            changes = [_take_in(files.get(id) or CaseFile(id), mine, rules) for id, mine in waiting.items()]
            unsure = {
                change.complaint_id
                for change in changes
                if change.after is change.before
                and change.complaint_id in believed
                and not all(change.after.knows(cause) for cause in change.causes)
            }
            turn, ids = self._turns.take(waiting.keys()), tuple(waiting)
            try:
                lost = await self.save([change for change in changes if change.after is not change.before], rules)
                settled = [change for change in changes if change.complaint_id not in unsure | lost]
                self._keep(settled)
                await self._settle_parked(settled)
                follows = [pair for change in settled for pair in change.said]
                await turn.come()
                await say(follows)
            finally:
                self._turns.end(turn, ids)
            said += follows
            if not unsure | lost:
                return said
            waiting = {id: waiting[id] for id in unsure | lost}
            believed, files = {}, dict(await self.load(waiting))
        raise Contended(f"{len(waiting)} cases were written by others {ROUNDS} times")

    async def forget(self, file: CaseFile, rules: Rules) -> None:
        """Lets go of what waits in `file` for a submission, unless somebody has changed it meanwhile."""
        change = Change(file, replace(forgotten(file), version=file.version + 1))
        if not await self.save([change], rules):
            self._keep([change])

    def _believed(self, waiting: Mapping[str, Sequence[Cause]]) -> dict[str, CaseFile]:
        """What needs no reading: recent files, and those that a submission is about to begin."""
        found: dict[str, CaseFile] = {}
        for complaint_id, causes in waiting.items():
            if complaint_id in self._recent:
                found[complaint_id] = self._recent[complaint_id]
            elif isinstance(causes[0].data, ComplaintSubmitted):
                found[complaint_id] = CaseFile(complaint_id)
        return found

    def _keep(self, changes: Iterable[Change]) -> None:
        for change in changes:
            known = self._recent.get(change.complaint_id)
            if known is None or known.version < change.after.version:
                self._recent[change.complaint_id] = change.after
            self._recent.move_to_end(change.complaint_id)
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    async def _settle_parked(self, changes: Iterable[Change]) -> None:
        """Brings the list of what is parked up to date; a repeat mends what a crash has left out."""
        come: dict[str, str] = {}
        gone: list[str] = []
        for change in changes:
            before, after = change.before, change.after
            if before.parked or after.parked:
                come |= {parked_key(one): after.complaint_id for one in change.causes if after.parks(one)}
                gone += [parked_key(one) for one in before.parked if not after.parks(one)]
            for one in change.causes if after.overflowed else ():
                if one.topic in after.overflowed and not after.knows(one):
                    OVERFLOWED.labels(one.topic).inc()
            for topic in after.overflowed - before.overflowed:
                log.warning(
                    "too much for a complaint that nobody submitted", complaint_id=after.complaint_id, topic=topic
                )
        if come:
            await self.list_parked(come)
        if gone:
            await self.unlist(gone)

    @abstractmethod
    async def load(self, complaint_ids: Collection[str]) -> Mapping[str, CaseFile]:
        """Those of the cases that exist."""

    @abstractmethod
    async def save(self, changes: Sequence[Change], rules: Rules) -> set[str]:
        """Writes each change if the version that it follows is still the last; gives the ids of those that lost.

        Raises:
            ReferenceTaken: the reference is another complaint's; nothing was written.
        """

    @abstractmethod
    async def erase(self, file: CaseFile) -> None:
        """Empties all that was written of `file`, in which nothing waits and which has no case."""

    @abstractmethod
    async def by_reference(self, reference: str) -> CaseFile | None:
        """The case of a reference."""

    @abstractmethod
    async def by_phone(self, phone: str, before: tuple[datetime, str] | None, size: int) -> list[Listed]:
        """Cases of a telephone number (E.164), newest first, after the key (`received_at`, id) of the last seen."""

    @abstractmethod
    def due(self, now: datetime, page: int) -> AsyncIterator[list[Due]]:
        """Pages of the cases that the clock is to look at by `now`."""

    @abstractmethod
    async def look_again(self, moments: Mapping[str, datetime | None]) -> None:
        """Moves entries of `Due` to the moment at which the clock has to look again, or removes them."""

    @abstractmethod
    async def parked(self, after: str, size: int) -> list[Waiting]:
        """A page of what is parked, oldest first, after the key of the last seen ("" for the first page)."""

    @abstractmethod
    async def count_parked(self, before: datetime) -> int:
        """How many messages that came before that moment are parked."""

    @abstractmethod
    async def list_parked(self, rows: Mapping[str, str]) -> None:
        """Adds rows (key: complaint id) to the list of what is parked, unless they are there."""

    @abstractmethod
    async def unlist(self, keys: Sequence[str]) -> None:
        """Removes rows from the list of what is parked."""

    @abstractmethod
    async def note(self, outcomes: Sequence[Event[NoticeOutcome]]) -> None:
        """Keeps what became of notices; each once."""

    @abstractmethod
    async def notices(self, complaint_id: str) -> list[NoticeOutcome]:
        """What became of the notices of a case, oldest first."""


def sortable(moment: datetime) -> str:
    """A moment as text that sorts as time does."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def parked_key(cause: Cause) -> str:
    """The place of a parked cause in the list: it has waited since it was said."""
    return f"{sortable(cause.time)}|{consequence_id(cause.id, cause.topic)}"


def listed(file: CaseFile) -> Listed:
    """The row of a case in a list.

    Raises:
        ValueError: nobody has submitted it.
    """
    if file.case is None or file.filing is None:
        raise ValueError(f"complaint {file.complaint_id} has not been submitted")
    return Listed(
        complaint_id=file.complaint_id,
        reference=file.case.reference,
        nature=file.filing.nature,
        state=file.case.state,
        received_at=file.case.received_at,
        administration=file.case.holder,
    )


def _take_in(before: CaseFile, causes: Sequence[Cause], rules: Rules) -> Change:
    file = before
    pairs: list[tuple[Cause, Consequence]] = []
    for cause in causes:
        file = receive(file, cause, rules)
        pairs += [(cause, one) for one in consequences(file, cause)]
    if file is not before:
        file = replace(file, version=before.version + 1)
    return Change(before, file, causes, _in_order(pairs))


def _in_order(pairs: Iterable[tuple[Cause, Consequence]]) -> list[tuple[Cause, Consequence]]:
    """Each message once, as the history goes: a repeated cause may stand in the batch before the one it waited for."""
    once = {one.id: (cause, one) for cause, one in pairs}
    return sorted(once.values(), key=lambda pair: pair[1].sequence)
