"""The catalogue now in force, in memory; a new import is taken over within seconds, with no restart."""

from collections.abc import Mapping
from typing import Protocol

from chikaya_contracts.messages.catalogue import AdministrationListed


class Kept(Protocol):
    """Where the catalogue is kept."""

    async def catalogue(self) -> tuple[int, dict[str, AdministrationListed]]: ...
    async def catalogue_version(self) -> int: ...


class LiveCatalogue:
    """Rows by slug, and the version that they are of."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self.version = 0
        self.rows: Mapping[str, AdministrationListed] = {}

    async def refresh(self) -> int:
        """Takes a newer version over; gives 0, for there is never more work at once."""
        if await self._kept.catalogue_version() != self.version or not self.rows:
            self.version, self.rows = await self._kept.catalogue()
        return 0
