"""What routing needs of a store: complaints with their decisions, and the triage queue."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from chikaya_routing.domain.routing import Complaint, Status, Supplement

After = tuple[datetime, str]
"""Where a page of the queue begins: after the complaint received then, with that id."""


class Known(NamedTuple):
    """What is kept of some complaints: those decided, and what came before the submission of others."""

    complaints: dict[str, Complaint]
    early: dict[str, tuple[Supplement, ...]]


@dataclass(frozen=True, slots=True)
class Item:
    """A complaint as triage sees it. `judgement` is the classifier's, as plain data; `held_by` has it open until
    `held_until`; `answered_at` is when the citizen answered the last question; `release_at` is set while a decision
    rests."""

    complaint: Complaint
    status: Status
    judgement: Mapping[str, Any]
    held_by: str | None = None
    held_until: datetime | None = None
    answered_at: datetime | None = None
    release_at: datetime | None = None


class Complaints(Protocol):
    """Complaints and their decisions. Whatever is written is acknowledged by the server before a call returns."""

    async def known(self, ids: Iterable[str]) -> Known:
        """What is kept of these, in one query."""

    async def add(self, decided: Sequence[tuple[Complaint, Mapping[str, Any]]]) -> set[str]:
        """Keeps new complaints with their judgements, in one bulk; gives the ids of those decided by another
        meanwhile."""

    async def replace(self, complaint: Complaint, known_decisions: int) -> bool:
        """Keeps a further decision that is published at once; false when another has decided since it was read."""

    async def supplement(self, added: Sequence[tuple[str, Supplement]]) -> None:
        """Keeps what citizens added, each once, in one bulk; before the submission too."""

    async def answered(self, answers: Sequence[tuple[str, str, datetime]]) -> None:
        """Puts complaints that wait for the citizen back into triage; (complaint, event, when), each event once."""

    async def withdraw(self, ids: Sequence[str]) -> None:
        """Takes complaints off the queue for good; before the submission too."""

    async def due(self, now: datetime) -> list[Complaint]:
        """Complaints with a decision that has rested long enough, the longest first."""

    async def released(self, complaints: Sequence[Complaint]) -> None:
        """These have been published: they rest no longer."""

    # -- triage

    async def page(self, status: Status, after: After | None, limit: int) -> list[Item]:
        """The oldest of those with this status, from their index."""

    async def count(self, status: Status) -> int:
        """How many have this status."""

    async def resting(self, now: datetime) -> list[Item]:
        """Those with a decision that is not published yet, next due first."""

    async def item(self, id: str) -> Item | None:
        """One complaint, by its id or its reference."""

    async def claim(self, id: str, officer: str, now: datetime, until: datetime) -> bool:
        """Gives an officer the complaint until then; false when it is not open, or another holds it."""

    async def leave(self, id: str, officer: str) -> None:
        """Ends the officer's claim."""

    async def settle(self, complaint: Complaint, known_decisions: int, officer: str, release_at: datetime) -> bool:
        """Keeps an officer's decision, which rests; false when another has decided, or holds the complaint."""

    async def take_back(self, complaint: Complaint, known_decisions: int, resting_at: datetime) -> bool:
        """Keeps the complaint without its last decision, if that rests until later than `resting_at`."""
