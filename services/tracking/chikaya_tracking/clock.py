"""The legal clock's loop: finds the cases whose hour has come, and asks of each what the hour asks."""

import asyncio

import structlog
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.messages.requests import ClockReached
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.publishing import Publisher

from .adapters.cases import Cases
from .consumers import SOURCE
from .domain.case import Rules, alarms

log = structlog.get_logger()
PAGE = 200


class LegalClock:
    """Speaks through `complaints.requests.v1` like everybody else. Several instances may run: what they ask has the
    same id, and the case remembers it."""

    def __init__(self, cases: Cases, publisher: Publisher, clock: Clock, rules: Rules, period_s: float) -> None:
        self._cases, self._publisher, self._clock, self._rules = cases, publisher, clock, rules
        self._period_s = period_s

    async def run(self) -> None:
        """For ever."""
        while True:
            if asked := await self.tick():
                log.info("clock reached", requests=asked)
            await asyncio.sleep(self._period_s)

    async def tick(self) -> int:
        """Asks all that is due now; how many requests that were."""
        now, asked = self._clock(), 0
        async for cases in self._cases.due(now, PAGE):
            requests: list[Event[Message]] = []
            for case in cases:
                for alarm in alarms(case, self._rules):
                    if alarm.moment > now:
                        continue
                    request = ClockReached(
                        complaint_id=case.complaint_id, at=now, by="clock", threshold=alarm.threshold, due=alarm.due
                    )
                    target = f"{alarm.threshold}/{alarm.due.isoformat()}"
                    request_id = consequence_id(case.complaint_id, request.TYPE, target)
                    requests.append(Event(request_id, SOURCE, now, request, topics.REQUESTS.name))
            await self._publisher.publish(requests)
            asked += len(requests)
        return asked
