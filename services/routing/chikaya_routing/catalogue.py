"""The catalogue now in force, in memory; a new import is taken over within seconds, with no restart."""

from typing import Protocol

from chikaya_routing.domain.catalogue import Edition


class Editions(Protocol):
    """Where the catalogue is kept."""

    async def edition(self) -> Edition:
        """The last import; an empty edition before the first."""

    async def edition_version(self) -> int:
        """Its number; 0 before the first."""

    async def keep_edition(self, edition: Edition) -> bool:
        """Puts `edition` in the place of the one before it, whole; false when another import came between."""


class LiveCatalogue:
    """The edition in force."""

    def __init__(self, kept: Editions) -> None:
        self._kept = kept
        self.edition = Edition()

    async def refresh(self) -> int:
        """Takes a newer edition over; gives 0, for there is never more work at once."""
        if await self._kept.edition_version() != self.edition.version:
            self.edition = await self._kept.edition()
        return 0
