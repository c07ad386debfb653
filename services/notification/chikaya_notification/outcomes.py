"""What has become of notices: published, and recorded, in groups.

While one group is published and recorded, the next gathers: under load many ends cost one publication and one write,
at rest an end is recorded at once. Published first, so that one write keeps both; while Kafka is away an end is
recorded as unpublished, and published later, with the same id.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import consequence_id
from chikaya_servicekit.backoff import delays
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.publishing import Publisher

from .domain.delivery import outcome
from .domain.notices import Notice
from .stores import Notices

log = structlog.get_logger()

SOURCE = "/notification"
GROUP = 100
LEFT_OVER_EVERY_S = 5.0
LEFT_OVER_AT_ONCE = 500
RECORD_AGAIN_AFTER_S = 1.0
"""At most, while the database is away: well under what `sending` waits before it looks for what others claimed."""

Ended = Callable[[datetime], Notice]
"""What a try has led to, at the instant that it is given: that of its group."""


class Outcomes:
    """The ends of tries."""

    def __init__(self, store: Notices, publisher: Publisher, clock: Clock) -> None:
        self._store, self._publisher, self._clock = store, publisher, clock
        self._gathering: list[tuple[Ended, asyncio.Future[Notice]]] = []
        self._recording: asyncio.Task[None] | None = None
        self._kafka_away = False

    async def record(self, ended: Ended) -> Notice:
        """Publishes and keeps what a try has led to, and gives it. Waits until the database has taken it, whatever
        keeps it from that: what is forgotten would be sent again."""
        recorded: asyncio.Future[Notice] = asyncio.get_running_loop().create_future()
        self._gathering.append((ended, recorded))
        if self._recording is None or self._recording.done():
            self._recording = asyncio.create_task(self._record_all())
        return await recorded

    async def publish(self, notices: Sequence[Notice]) -> None:
        """Publishes the outcomes of ended notices.

        Raises:
            DependencyDown: Kafka is away; some may have been published, and may be published again.
        """
        if notices:
            await self._publisher.publish([_event(notice) for notice in notices])

    async def publish_left_over(self) -> int:
        """Publishes up to `LEFT_OVER_AT_ONCE` outcomes that could not be published when they came to be; gives their
        number."""
        left = await self._store.unpublished(LEFT_OVER_AT_ONCE)
        await self.publish(left)
        await self._store.published([notice.id for notice in left])
        self._kafka_away = False
        return len(left)

    async def run(self) -> None:
        """Looks for left over outcomes for as long as the process lives."""
        while True:
            if await self.publish_left_over() < LEFT_OVER_AT_ONCE:
                await asyncio.sleep(LEFT_OVER_EVERY_S)

    async def _record_all(self) -> None:
        while self._gathering:
            group, self._gathering = self._gathering[:GROUP], self._gathering[GROUP:]
            try:
                now = self._clock()
                after = [ended(now) for ended, _ in group]
                await self._keep(after, await self._published([notice for notice in after if notice.ended_at]))
            except BaseException as error:
                for _, recorded in group:
                    if not recorded.done():
                        recorded.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            else:
                for notice, (_, recorded) in zip(after, group, strict=True):
                    if not recorded.done():
                        recorded.set_result(notice)

    async def _published(self, ended: Sequence[Notice]) -> bool:
        if self._kafka_away:
            return False
        try:
            await self.publish(ended)
        except DependencyDown as error:
            # Each further try would hold the senders for the producer's timeout: `publish_left_over` finds out.
            self._kafka_away = True
            log.warning("outcomes are published later", error=str(error))
            return False
        return True

    async def _keep(self, tried: Sequence[Notice], published: bool) -> None:
        for delay in delays():
            try:
                return await self._store.end_tries(tried, published)
            except Exception as error:
                log.warning("outcomes of tries not recorded yet", count=len(tried), error=type(error).__name__)
                await asyncio.sleep(min(delay, RECORD_AGAIN_AFTER_S))


def _event(notice: Notice) -> Event[Message]:
    data = outcome(notice)
    return Event(
        id=consequence_id(notice.id, data.TYPE),
        source=SOURCE,
        time=data.at,
        data=data,
        topic=data.TOPIC.name,
        traceparent=notice.traceparent,
    )
