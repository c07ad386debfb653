"""Triage: what a person does with a complaint that was not decided alone. Pages and API do the same through this.

An officer who opens a complaint holds it for a while, so that two never settle the same one. A settlement rests before
it is published; until then it can be undone.
"""

import math
from collections.abc import Callable
from datetime import datetime, timedelta

from chikaya_contracts.ids import new_id
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.telemetry import traceparent

from chikaya_routing.domain import routing
from chikaya_routing.domain.catalogue import Rows
from chikaya_routing.domain.routing import OPEN, UNDO_MARGIN, NotAllowed, Settlement
from chikaya_routing.stores import Complaints, Item, order

PAGE = 25
MOST_COUNTED = 200
"""A longer queue is said to be longer: counting it all would take time with its length."""


class NotFound(LookupError):
    """Routing has decided no such complaint."""


class Triage:
    """The queue and what officers do with it.

    Args:
        undo: how long a settlement rests.
        lease: how long an officer holds what they opened.
    """

    def __init__(
        self, complaints: Complaints, catalogue: Callable[[], Rows], clock: Clock, undo: timedelta, lease: timedelta
    ) -> None:
        self._complaints, self._catalogue, self._clock = complaints, catalogue, clock
        self._undo, self._lease = undo, lease

    async def queue(self, after: str | None, limit: int = PAGE) -> tuple[list[Item], str | None]:
        """The complaints that have waited longest, and where the next page begins (`stores.order`)."""
        found = await self._complaints.page(after, limit + 1)
        if len(found) <= limit:
            return found, None
        last = found[limit - 1].complaint
        return found[:limit], order(last.submission.received_at, last.id)

    async def count(self) -> tuple[int, bool]:
        """How many complaints wait for a person, and whether there are more than were counted."""
        counted = await self._complaints.count(MOST_COUNTED + 1)
        return min(counted, MOST_COUNTED), counted > MOST_COUNTED

    async def resting(self) -> list[Item]:
        """Settlements that are not published yet."""
        return await self._complaints.resting(self._clock())

    async def item(self, id: str) -> Item:
        """One complaint, by its id or its reference.

        Raises:
            NotFound: there is none.
        """
        item = await self._complaints.item(id)
        if item is None:
            raise NotFound(id)
        return item

    async def open(self, id: str, officer: str) -> Item:
        """One complaint, held for this officer if it is open and nobody else holds it.

        Raises:
            NotFound: there is none.
        """
        item = await self.item(id)
        if is_settled(item):
            return item
        now = self._clock()
        await self._complaints.claim(item.complaint.id, officer, now, now + self._lease)
        return await self.item(item.complaint.id)

    async def leave(self, id: str, officer: str) -> None:
        """Lets others have it."""
        await self._complaints.leave(id, officer)

    async def settle(self, id: str, officer: str, settlement: Settlement) -> Item:
        """Decides, to be published when the decision has rested.

        Raises:
            NotFound: there is no such complaint.
            NotAllowed: it is settled, or held by another, or what was asked cannot be done.
        """
        item = await self.open(id, officer)
        complaint, now = item.complaint, self._clock()
        if is_settled(item):
            raise NotAllowed("settled")
        if item.held_by != officer:
            raise NotAllowed("held")
        if settlement.action == "ask" and item.status == "waiting":
            raise NotAllowed("asked")
        decision = routing.settle(complaint, settlement, self._catalogue(), now)
        decided = routing.with_decision(
            complaint, decision, new_id(), traceparent(), now + self._undo, officer, settlement.note
        )
        if not await self._complaints.settle(decided, len(complaint.decisions), officer, now + self._undo):
            raise NotAllowed("settled")
        return await self.item(complaint.id)

    async def undo(self, id: str, officer: str) -> Item:
        """Takes a settlement back that is not published yet; the complaint is in the queue again, held by this officer.

        Raises:
            NotFound: there is no such complaint.
            NotAllowed: nothing rests, or it is too late.
        """
        item = await self.item(id)
        complaint = item.complaint
        if not self.seconds_left(item):
            raise NotAllowed("too-late")
        before, now = routing.without_last(complaint), self._clock()
        if not await self._complaints.take_back(before, len(complaint.decisions), now + UNDO_MARGIN):
            raise NotAllowed("too-late")
        return await self.open(complaint.id, officer)

    def undo_until(self, item: Item) -> datetime | None:
        """When undoing ends; None when nothing rests."""
        return item.release_at - UNDO_MARGIN if item.release_at else None

    def seconds_left(self, item: Item) -> int:
        """How long a settlement can still be undone; 0 when it cannot, or nothing rests."""
        until = self.undo_until(item)
        return max(0, math.ceil((until - self._clock()).total_seconds())) if until else 0


def is_settled(item: Item) -> bool:
    """Whether there is nothing for a person to decide: it is decided, or a decision rests."""
    return item.status not in OPEN or item.release_at is not None
