"""Publishing what has become of notices. One whose publication a crash cut off is published later, with the same id."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import consequence_id
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.publishing import Publisher

from .domain.delivery import outcome
from .domain.notices import Notice
from .stores import Notices

SOURCE = "/notification"
LEFT_OVER_AFTER = timedelta(seconds=30)
AT_ONCE = 500


class Outcomes:
    """The outcomes of notices that have ended."""

    def __init__(self, store: Notices, publisher: Publisher, clock: Clock) -> None:
        self._store, self._publisher, self._clock = store, publisher, clock

    async def publish(self, notices: Sequence[Notice]) -> None:
        """Publishes the outcomes of ended notices, and keeps that this was done.

        Raises:
            DependencyDown: Kafka is away; they are left over for later.
        """
        if not notices:
            return
        await self._publisher.publish([_event(notice) for notice in notices])
        await self._store.published([notice.id for notice in notices])

    async def publish_left_over(self) -> int:
        """Publishes up to `AT_ONCE` outcomes that should have been published by now; gives their number."""
        left = await self._store.unpublished(self._clock() - LEFT_OVER_AFTER, AT_ONCE)
        await self.publish(left)
        return len(left)

    async def run(self) -> None:
        """Looks for left over outcomes for as long as the process lives."""
        while True:
            if await self.publish_left_over() < AT_ONCE:
                await asyncio.sleep(LEFT_OVER_AFTER.total_seconds())


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
