"""Stores that live in the process: for tests, held to the same suite as Mongo's."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

from chikaya_contracts.messages.catalogue import AdministrationListed

from ..domain.dossier import DossierFile, Group
from .dossiers import Dossiers, Key, Listed, first_is_soonest, listed


class MemoryDossiers(Dossiers):
    """Dossiers in a dictionary."""

    def __init__(self) -> None:
        self._files: dict[Key, DossierFile] = {}

    async def load(self, keys: Iterable[Key]) -> Mapping[Key, DossierFile]:
        await asyncio.sleep(0)  # others have their turn, as with a real store
        return {key: self._files[key] for key in keys if key in self._files}

    async def save(self, files: Collection[DossierFile]) -> set[Key]:
        await asyncio.sleep(0)
        lost = set()
        for file in files:
            key = (file.administration, file.complaint_id)
            present = self._files.get(key)
            if (present.version if present else 0) == file.version - 1:
                self._files[key] = file
            else:
                lost.add(key)
        return lost

    async def page(self, administration: str, group: Group | None, after: str | None, size: int) -> list[Listed]:
        soonest = first_is_soonest(group)
        rows = [
            row
            for file in self._files.values()
            if file.administration == administration
            and (row := listed(file))
            and group in (None, file.standing and file.standing.group)
        ]
        rows.sort(key=lambda row: row.position, reverse=not soonest)
        if after:
            rows = [row for row in rows if (row.position > after if soonest else row.position < after)]
        return rows[:size]

    async def by_reference(self, administration: str, reference: str) -> DossierFile | None:
        for file in self._files.values():
            if file.dossier and (file.administration, file.dossier.reference) == (administration, reference):
                return file
        return None


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
