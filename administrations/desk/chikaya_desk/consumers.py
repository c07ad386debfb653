"""Topics → domain: dossiers and follow-ups of all administrations that the desk serves, and the catalogue."""

from collections.abc import Sequence

from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message
from chikaya_servicekit.consuming import Consumer

from .adapters.dossiers import Dossiers
from .catalogue import Catalogue

INBOX = topics.INBOX.named(topics.DESK).name


class Handlers:
    """What the desk does with what it reads."""

    def __init__(self, dossiers: Dossiers, catalogue: Catalogue) -> None:
        self._dossiers, self._catalogue = dossiers, catalogue

    def consumers(self) -> list[Consumer]:
        """Who reads what. The inbox is read as its family: of that, the broker shows the desk its own member alone."""
        return [
            Consumer("inbox", [topics.INBOX], self.receive, max_records=100),
            Consumer("catalogue", [topics.CATALOGUE], self._catalogue.apply),
        ]

    async def receive(self, batch: Sequence[Event[Message]]) -> None:
        """Takes in dossiers and follow-ups; those of another's inbox are left alone, where a broker has no rights."""
        await self._dossiers.receive([event for event in batch if event.topic == INBOX])
