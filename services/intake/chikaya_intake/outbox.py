"""From intake's own store to Kafka: at once when Kafka is there, later and in order when it is not.

A complaint may be published twice with the same event id (after a crash between Kafka and the mark in the store);
who consumes it absorbs that. It is never published less than once.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.publishing import Publisher
from prometheus_client import Gauge

from .domain.acceptance import Complaint
from .stores import Attachments, Complaints

log = structlog.get_logger()

WAITING = Gauge("chikaya_intake_waiting", "Accepted complaints that Kafka should have by now and has not.")

AT_ONCE = 500
LOOK_EVERY_S = 5.0
LEFT_BEHIND_AFTER = timedelta(seconds=15)
"""One that has waited for so long was accepted by a process that has ended since, or has been held by an outage."""
FRESH_AT_MOST = 5_000
FORGOTTEN_AFTER = timedelta(days=7)
"""A key can be repeated for so long after Kafka has its complaint; then intake's copy is removed. It is tracking that
keeps the case."""


class Outbox:
    """Relays accepted complaints. Those of this process go straight from memory, those of others from the store."""

    def __init__(self, complaints: Complaints, attachments: Attachments, publisher: Publisher, clock: Clock) -> None:
        self._complaints, self._attachments = complaints, attachments
        self._publisher, self._clock = publisher, clock
        self._fresh: dict[str, Complaint] = {}
        self._more = asyncio.Event()
        self.waiting = 0

    def offer(self, complaints: Sequence[Complaint]) -> None:
        """Lets accepted complaints be published now; what does not fit into memory is found in the store later."""
        for complaint in complaints[: max(0, FRESH_AT_MOST - len(self._fresh))]:
            self._fresh[complaint.id] = complaint
        self._more.set()

    async def relay(self, complaints: Sequence[Complaint]) -> None:
        """Publishes complaints, then marks them.

        Raises:
            DependencyDown: Kafka does not have all of them; they go on waiting.
        """
        if not complaints:
            return
        await self._publisher.publish([complaint.event for complaint in complaints])
        for complaint in complaints:
            if files := complaint.message.attachments:
                # Before the mark: from then on, the complaint that says whose files these are may be forgotten.
                await self._attachments.settle(complaint.id, [file.id for file in files])
        await self._complaints.relayed([complaint.id for complaint in complaints], self._clock() + FORGOTTEN_AFTER)

    async def run(self) -> None:
        """Relays for ever. Raises what the broker or the store raises, to be begun again: from the store, then."""
        self._fresh.clear()
        await self.relay_from_store(timedelta())
        now = asyncio.get_running_loop().time
        look_at = now() + LOOK_EVERY_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(look_at):
                    await self._more.wait()
            self._more.clear()
            while self._fresh:
                await self.relay([self._fresh.pop(id_) for id_ in list(self._fresh)[:AT_ONCE]])
            if now() >= look_at:
                await self.relay_from_store(LEFT_BEHIND_AFTER)
                look_at = now() + LOOK_EVERY_S

    async def relay_from_store(self, older_than: timedelta) -> None:
        """Relays what has waited for longer than that, oldest first."""
        until = self._clock() - older_than
        await self._count(until)
        if not self.waiting:
            return
        found = 0
        async for batch in self._complaints.waiting(until, AT_ONCE):
            for complaint in batch:
                self._fresh.pop(complaint.id, None)
            await self.relay(batch)
            found += len(batch)
        await self._count(until)
        log.info("relayed from the store", complaints=found, still_waiting=self.waiting)

    async def _count(self, until: datetime) -> None:
        self.waiting = await self._complaints.count_waiting(until)
        WAITING.set(self.waiting)

    def note(self) -> str:
        """For `/readyz`: how many wait, when any does."""
        return f"{self.waiting} accepted complaints wait for Kafka" if self.waiting else ""
