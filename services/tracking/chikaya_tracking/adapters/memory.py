"""Stores that live in the process: for tests, held to the same suite as Mongo's."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime

from chikaya_contracts.envelope import Event
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.notification import NoticeOutcome

from ..domain.case import Case, Rules, alarms
from ..domain.case_file import CaseFile
from .cases import Cases, Listed, ReferenceTaken


class MemoryCases(Cases):
    """Cases in a dictionary."""

    def __init__(self) -> None:
        self._files: dict[str, CaseFile] = {}
        self._due: dict[str, datetime] = {}
        self._notices: dict[str, NoticeOutcome] = {}

    async def load(self, complaint_ids: Iterable[str]) -> Mapping[str, CaseFile]:
        await asyncio.sleep(0)  # others have their turn, as with a real store
        return {wanted: self._files[wanted] for wanted in complaint_ids if wanted in self._files}

    async def save(self, files: Collection[CaseFile], rules: Rules) -> set[str]:
        await asyncio.sleep(0)
        lost: set[str] = set()
        for file in files:
            present = self._files.get(file.complaint_id)
            if (present.version if present else 0) != file.version - 1:
                lost.add(file.complaint_id)
                continue
            if file.case and any(
                other.case and other.case.reference == file.case.reference
                for other in self._files.values()
                if other.complaint_id != file.complaint_id
            ):
                raise ReferenceTaken(file.complaint_id)
            self._files[file.complaint_id] = file
            waiting = alarms(file.case, rules) if file.case else []
            self._due.pop(file.complaint_id, None)
            if waiting:
                self._due[file.complaint_id] = waiting[0].moment
        return lost

    async def by_reference(self, reference: str) -> CaseFile | None:
        return next((f for f in self._files.values() if f.case and f.case.reference == reference), None)

    async def by_phone(self, phone: str, before: tuple[datetime, str] | None, size: int) -> list[Listed]:
        rows = [
            Listed(
                complaint_id=file.complaint_id,
                reference=file.case.reference,
                nature=file.filing.nature,
                state=file.case.state,
                received_at=file.case.received_at,
                administration=file.case.holder,
            )
            for file in self._files.values()
            if file.case and file.filing and file.filing.contact.phone == phone
        ]
        rows.sort(key=lambda row: (row.received_at, row.complaint_id), reverse=True)
        return [row for row in rows if before is None or (row.received_at, row.complaint_id) < before][:size]

    async def due(self, now: datetime, page: int) -> AsyncIterator[list[Case]]:
        ids = sorted((at, id) for id, at in self._due.items() if at <= now)
        cases = [case for _, id in ids if (case := self._files[id].case)]
        for start in range(0, len(cases), page):
            yield cases[start : start + page]

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
