"""What keeps cases, and how a batch changes them: load in one query, decide in memory, write in one bulk."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chikaya_contracts.envelope import Event
from chikaya_contracts.messages.notification import NoticeOutcome
from chikaya_contracts.states import StateName
from chikaya_contracts.submission import Nature

from ..domain.case import Case, Cause, Rules
from ..domain.case_file import CaseFile, Consequence, consequences, receive

ROUNDS = 50


class Contended(Exception):
    """Others wrote a case first, every time."""


class ReferenceTaken(Exception):
    """Two complaints have one reference: intake gave it twice."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of a list of cases."""

    complaint_id: str
    reference: str
    nature: Nature
    state: StateName
    received_at: datetime
    administration: str | None


class Cases(ABC):
    """The store of cases. What it gives is as it was written; nothing is lost to a race."""

    async def transact(self, causes: Sequence[Cause], rules: Rules) -> list[tuple[Cause, Consequence]]:
        """Takes causes in, in order for each case, and gives what to publish of each.

        Writes are conditional on the version that was read; who loses a race reloads and decides again.

        Raises:
            TooMuchParked: see `receive`.
            ReferenceTaken: see there.
            Contended: a race was lost 50 times.
        """
        waiting: dict[str, list[Cause]] = defaultdict(list)
        for cause in causes:
            waiting[cause.data.key].append(cause)
        said: list[tuple[Cause, Consequence]] = []
        for _ in range(ROUNDS):
            if not waiting:
                return said
            loaded = await self.load(waiting)
            changed: list[CaseFile] = []
            follow: dict[str, list[tuple[Cause, Consequence]]] = {}
            for complaint_id, mine in waiting.items():
                before = file = loaded.get(complaint_id) or CaseFile(complaint_id)
                follow[complaint_id] = []
                for cause in mine:
                    file = receive(file, cause, rules)
                    follow[complaint_id] += [(cause, one) for one in consequences(file, cause)]
                if file is not before:
                    changed.append(replace(file, version=before.version + 1))
            lost = await self.save(changed, rules)
            for complaint_id, pairs in follow.items():
                if complaint_id not in lost:
                    said += _in_order(pairs)
            waiting = {complaint_id: waiting[complaint_id] for complaint_id in lost}
        raise Contended(f"{len(waiting)} cases were written by others {ROUNDS} times")

    @abstractmethod
    async def load(self, complaint_ids: Iterable[str]) -> Mapping[str, CaseFile]:
        """Those of the cases that exist."""

    @abstractmethod
    async def save(self, files: Collection[CaseFile], rules: Rules) -> set[str]:
        """Writes each file if its predecessor (`version` - 1) is still there; gives the ids of those that lost."""

    @abstractmethod
    async def by_reference(self, reference: str) -> CaseFile | None:
        """The case of a reference."""

    @abstractmethod
    async def by_phone(self, phone: str, before: tuple[datetime, str] | None, size: int) -> list[Listed]:
        """Cases of a telephone number (E.164), newest first, after the key (`received_at`, id) of the last seen."""

    @abstractmethod
    def due(self, now: datetime, page: int) -> AsyncIterator[list[Case]]:
        """Pages of the cases of which the clock has something to say by `now`."""

    @abstractmethod
    async def note(self, outcomes: Sequence[Event[NoticeOutcome]]) -> None:
        """Keeps what became of notices; each once."""

    @abstractmethod
    async def notices(self, complaint_id: str) -> list[NoticeOutcome]:
        """What became of the notices of a case, oldest first."""


def _in_order(pairs: Iterable[tuple[Cause, Consequence]]) -> list[tuple[Cause, Consequence]]:
    """Each message once, as the history goes: a repeated cause may stand in the batch before the one it waited for."""
    once = {one.id: (cause, one) for cause, one in pairs}
    return sorted(once.values(), key=lambda pair: pair[1].sequence)
