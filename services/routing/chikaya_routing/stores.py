"""What routing needs of a store: complaints with their decisions, and the triage queue."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from chikaya_routing.domain.judgement import Judgement
from chikaya_routing.domain.routing import Complaint, Status, Supplement


def order(received_at: datetime, complaint_id: str) -> str:
    """Where a complaint stands in the queue, by its receipt; sorts as text."""
    return f"{received_at.astimezone(UTC).isoformat(timespec='milliseconds')}|{complaint_id}"


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

    async def known(self, ids: Iterable[str]) -> dict[str, Complaint]:
        """Those of these complaints that are decided."""

    async def add(self, decided: Sequence[tuple[Complaint, Judgement]]) -> set[str]:
        """Keeps new complaints with their judgements, in one bulk; gives the ids of those of which something was kept
        already, a decision by another or what came before the submission: `known` says what they are now."""

    async def replace(self, decided: Sequence[tuple[Complaint, int]]) -> bool:
        """Keeps further decisions that are published at once, in one bulk, each unless the complaint has another number
        of decisions than that; false when some were not kept."""

    async def supplement(self, added: Sequence[tuple[str, Supplement]]) -> None:
        """Keeps what citizens added, each once, in one bulk; before the submission too."""

    async def answered(self, answers: Sequence[tuple[str, str, datetime]]) -> None:
        """Puts complaints that wait for the citizen back into triage; (complaint, event, when), each event once. An
        answer proves that its question is published, so that nothing rests any more."""

    async def withdraw(self, ids: Sequence[str]) -> None:
        """Takes complaints off the queue for good; before the submission too."""

    async def due(self, now: datetime) -> list[Complaint]:
        """Complaints with a decision that has rested long enough, the longest first."""

    async def released(self, complaints: Sequence[Complaint]) -> None:
        """These have been published: they rest no longer."""

    # -- triage

    async def page(self, after: str | None, size: int) -> list[Item]:
        """The queue from behind an `order`, the longest waiting first."""

    async def count(self, most: int) -> int:
        """How many are in the queue, counted up to `most`."""

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
