"""The legal clock's loop: finds the cases whose hour has come, and asks of each what the hour asks."""

import asyncio
from datetime import datetime, timedelta

import structlog
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.messages.requests import ClockReached
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.publishing import Publisher

from .adapters.cases import Cases
from .consumers import SOURCE
from .domain.case import Alarm, Case, Rules, alarms

log = structlog.get_logger()
PAGE = 200
ASK_AGAIN = timedelta(hours=1)


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
        """Asks all that is due now; how many requests that were.

        What was asked is asked again after an hour, unless it has been decided by then.
        """
        now, asked = self._clock(), 0
        async for page in self._cases.due(now, PAGE):
            requests: list[Event[Message]] = []
            again: dict[str, datetime | None] = {}
            for due in page:
                waiting = alarms(due.case, self._rules)
                ringing = [_request(due.case, alarm, now) for alarm in waiting if alarm.moment <= now]
                requests += ringing
                # One entry is enough for what comes next.
                again |= dict.fromkeys(due.entries)
                if waiting:
                    again[due.entries[0]] = now + ASK_AGAIN if ringing else waiting[0].moment
            await self._publisher.publish(requests)
            await self._cases.look_again(again)
            asked += len(requests)
        return asked


def _request(case: Case, alarm: Alarm, now: datetime) -> Event[Message]:
    request = ClockReached(complaint_id=case.complaint_id, at=now, by="clock", threshold=alarm.threshold, due=alarm.due)
    target = f"{alarm.threshold}/{alarm.due.isoformat()}"
    request_id = consequence_id(case.complaint_id, request.TYPE, target)
    return Event(request_id, SOURCE, now, request, topics.REQUESTS.name)
