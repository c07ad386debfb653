"""Where dossiers are kept: what every store can do, and the one way to change a dossier."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.messages.administration import DossierFollowUp
from chikaya_contracts.messages.routing import DossierForwarded

from ..domain.dossier import DossierFile, Group, Standing, State, receive

Key: TypeAlias = tuple[str, str]
"""(administration, complaint id)."""
TRIES = 20
EXCERPT = 160


class Contended(ConnectionError):
    """Others change the same dossier all the time: to be tried again, like a store that is away."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of the list. `position` is where the next page begins."""

    complaint_id: str
    reference: str
    state: State
    answer_due: datetime
    received_at: datetime
    nature: str
    excerpt: str
    commune: str | None
    place: str | None
    position: str


def position(standing: Standing, complaint_id: str) -> str:
    """Where a dossier stands in a list by deadline: sorts as text."""
    return f"{standing.answer_due:%Y-%m-%dT%H:%M:%SZ}|{complaint_id}"


def excerpt(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[:EXCERPT].rsplit(" ", 1)[0] + "…"


def listed(file: DossierFile) -> Listed | None:
    """The line of a dossier; None before the dossier itself has come."""
    standing, dossier = file.standing, file.dossier
    if standing is None or dossier is None:
        return None
    return Listed(
        complaint_id=file.complaint_id,
        reference=dossier.reference,
        state=standing.state,
        answer_due=standing.answer_due,
        received_at=dossier.received_at,
        nature=dossier.nature,
        excerpt=excerpt(dossier.text),
        commune=dossier.place.commune if dossier.place else None,
        place=dossier.place.text if dossier.place else None,
        position=position(standing, file.complaint_id),
    )


def first_is_soonest(group: Group | None) -> bool:
    """What is to be done begins with the soonest deadline; what is done, and all, with the last."""
    return group in ("todo", "waiting")


class Dossiers(ABC):
    """A store. Writes are conditional on the version; who loses, loads and decides again."""

    @abstractmethod
    async def load(self, keys: Iterable[Key]) -> Mapping[Key, DossierFile]:
        """Those of the dossiers that are known."""

    @abstractmethod
    async def save(self, files: Collection[DossierFile]) -> set[Key]:
        """Writes each file if the stored version is the one before it; the keys of those that were not written."""

    @abstractmethod
    async def page(self, administration: str, group: Group | None, after: str | None, size: int) -> list[Listed]:
        """Dossiers of an administration by deadline, from after a `position`; see `first_is_soonest`."""

    @abstractmethod
    async def by_reference(self, administration: str, reference: str) -> DossierFile | None:
        """The administration's dossier of that complaint."""

    async def find(self, key: Key) -> DossierFile | None:
        """One dossier; None while it has not been forwarded."""
        file = (await self.load([key])).get(key)
        return file if file and file.dossier else None

    async def receive(self, batch: Sequence[Event[Message]]) -> None:
        """Takes in what the inbox brings, in order for each dossier, in one write."""
        events: dict[Key, list[Event[Message]]] = {}
        for event in batch:
            if isinstance(event.data, DossierForwarded | DossierFollowUp):
                events.setdefault((event.data.administration, event.data.complaint_id), []).append(event)

        def taken_in(file: DossierFile) -> DossierFile:
            for event in events[file.administration, file.complaint_id]:
                file = receive(file, event)
            return file

        await self._changed(events, taken_in)

    async def change(
        self, key: Key, change: Callable[[DossierFile], DossierFile], read: DossierFile | None = None
    ) -> DossierFile:
        """Makes `change` on the present version of a dossier and gives what it has become.

        Args:
            read: the dossier as it was a moment ago, if that is known: it is read again only if it has changed.

        Raises:
            Contended: others were faster too many times.
        """
        return (await self._changed([key], change, {key: read} if read else None))[key]

    async def _changed(
        self,
        keys: Iterable[Key],
        change: Callable[[DossierFile], DossierFile],
        known: Mapping[Key, DossierFile] | None = None,
    ) -> Mapping[Key, DossierFile]:
        done: dict[Key, DossierFile] = {}
        waiting = list(keys)
        for _ in range(TRIES):
            if known is None:
                known = await self.load(waiting)
            before = {key: known.get(key) or DossierFile(key[1], key[0]) for key in waiting}
            after = {key: change(file) for key, file in before.items()}
            written = {
                key: replace(file, version=file.version + 1) for key, file in after.items() if file is not before[key]
            }
            lost = await self.save(written.values())
            done |= {key: written.get(key, after[key]) for key in waiting if key not in lost}
            if not lost:
                return done
            waiting, known = list(lost), None
        raise Contended(f"{len(waiting)} dossiers are changed by others all the time")
