"""The catalogue of administrations: how each is named, and which topic it reads."""

from collections.abc import Sequence
from typing import Protocol

from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.messages.catalogue import AdministrationListed


class Administrations(Protocol):
    """Where the rows are kept."""

    async def all(self) -> list[AdministrationListed]:
        """Every row."""

    async def keep(self, rows: Sequence[AdministrationListed]) -> None:
        """Keeps each row unless a later import of it is kept already."""


class Catalogue:
    """The rows in memory. One instance of tracking reads the topic and stores them; `load` brings them to all."""

    def __init__(self, kept: Administrations) -> None:
        self._kept = kept
        self._rows: dict[str, AdministrationListed] = {}

    async def load(self) -> None:
        """Reads what is stored."""
        self._rows = {row.slug: row for row in await self._kept.all()}

    async def apply(self, batch: Sequence[Event[Message]]) -> None:
        """Stores what routing has imported."""
        await self._kept.keep([event.data for event in batch if isinstance(event.data, AdministrationListed)])
        await self.load()

    def find(self, slug: str | None) -> AdministrationListed | None:
        """The row of an administration, if it is known."""
        return self._rows.get(slug) if slug else None

    def inbox(self, slug: str, last_used: str | None) -> str:
        """The topic that an administration reads; where its last dossier lay, while the catalogue does not know it."""
        row = self.find(slug)
        return row.inbox if row else last_used or topics.INBOX.named(topics.DESK).name
