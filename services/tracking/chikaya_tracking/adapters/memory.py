"""Stores that live in the process: for tests, held to the same suite as Mongo's."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime

from chikaya_contracts.envelope import Event
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.notification import NoticeOutcome

from ..domain.case import Rules, armed
from ..domain.case_file import CaseFile
from .cases import Cases, Change, Due, Listed, ReferenceTaken, Waiting, listed, parked_key, sortable


class MemoryCases(Cases):
    """Cases in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, CaseFile] = {}
        self._due: dict[str, tuple[datetime, str]] = {}
        self._parked: dict[str, str] = {}
        self._notices: dict[str, NoticeOutcome] = {}

    async def load(self, complaint_ids: Collection[str]) -> Mapping[str, CaseFile]:
        await asyncio.sleep(0)  # others have their turn, as with a real store
        return {wanted: self._files[wanted] for wanted in complaint_ids if wanted in self._files}

    async def save(self, changes: Sequence[Change], rules: Rules) -> set[str]:
        await asyncio.sleep(0)
        held = {file.case.reference: id for id, file in self._files.items() if file.case}
        for change in changes:
            case = change.after.case
            if case and held.setdefault(case.reference, change.complaint_id) != change.complaint_id:
                raise ReferenceTaken(change.complaint_id)
        lost: set[str] = set()
        for change in changes:
            present = self._files.get(change.complaint_id)
            if (present.version if present else 0) != change.before.version:
                lost.add(change.complaint_id)
                continue
            self._files[change.complaint_id] = change.after
            if moment := armed(change.before.case, change.after.case, rules):
                self._due[f"{change.complaint_id}/{change.after.version}"] = moment, change.complaint_id
        return lost

    async def erase(self, file: CaseFile) -> None:
        """Nothing is kept beside the file."""

    async def by_reference(self, reference: str) -> CaseFile | None:
        return next((f for f in self._files.values() if f.case and f.case.reference == reference), None)

    async def by_phone(self, phone: str, before: tuple[datetime, str] | None, size: int) -> list[Listed]:
        files = [file for file in self._files.values() if file.filing and file.filing.contact.phone == phone]
        rows = sorted(map(listed, files), key=lambda row: (row.received_at, row.complaint_id), reverse=True)
        return [row for row in rows if before is None or (row.received_at, row.complaint_id) < before][:size]

    async def due(self, now: datetime, page: int) -> AsyncIterator[list[Due]]:
        entries: dict[str, list[str]] = {}
        for entry, (moment, complaint_id) in sorted(self._due.items(), key=lambda item: item[1]):
            if moment <= now:
                entries.setdefault(complaint_id, []).append(entry)
        found = [Due(case, tuple(mine)) for id, mine in entries.items() if (case := self._files[id].case)]
        for start in range(0, len(found), page):
            yield found[start : start + page]

    async def look_again(self, moments: Mapping[str, datetime | None]) -> None:
        for entry, moment in moments.items():
            _, complaint_id = self._due.pop(entry)
            if moment:
                self._due[entry] = moment, complaint_id

    async def parked(self, after: str, size: int) -> list[Waiting]:
        keys = sorted(key for key in self._parked if key > after)[:size]
        files = {key: self._files[self._parked[key]] for key in keys}
        return [
            Waiting(key, file, next((one for one in file.parked if parked_key(one) == key), None))
            for key, file in files.items()
        ]

    async def count_parked(self, before: datetime) -> int:
        return sum(key < sortable(before) for key in self._parked)

    async def list_parked(self, rows: Mapping[str, str]) -> None:
        self._parked |= rows

    async def unlist(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._parked.pop(key, None)

    async def note(self, outcomes: Sequence[Event[NoticeOutcome]]) -> None:
        for outcome in outcomes:
            self._notices.setdefault(outcome.id, outcome.data)

    async def notices(self, complaint_id: str) -> list[NoticeOutcome]:
        found = [outcome for outcome in self._notices.values() if outcome.complaint_id == complaint_id]
        return sorted(found, key=lambda outcome: outcome.at)


class MemoryAdministrations:
    """The catalogue in a dictionary."""

    def __init__(self) -> None:
        self._rows: dict[str, AdministrationListed] = {}

    async def all(self) -> list[AdministrationListed]:
        return list(self._rows.values())

    async def keep(self, rows: Sequence[AdministrationListed]) -> None:
        for row in rows:
            if row.slug not in self._rows or self._rows[row.slug].version <= row.version:
                self._rows[row.slug] = row


class MemoryTries:
    """Counters in a dictionary."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    async def counts(self, keys: Sequence[str]) -> dict[str, int]:
        return {key: self._counts.get(key, 0) for key in keys}

    async def add(self, keys: Mapping[str, datetime]) -> None:
        for key in keys:
            self._counts[key] = self._counts.get(key, 0) + 1
