"""What waits for its predecessor: shown when it waits too long, let go when nothing can come any more."""

import asyncio
from datetime import timedelta

import structlog
from chikaya_contracts import topics
from chikaya_servicekit.clock import Clock

from .adapters.cases import Cases
from .domain.case import Rules
from .domain.case_file import waits_for
from .telemetry import PARKED, PARKED_OLDEST, PARKED_TOO_LONG

log = structlog.get_logger()

PAGE = 500
KEPT = timedelta(days=topics.OUTBOX.retention_days or 0)
"""What waits for a submission is kept as long as in the outbox that it came from."""


class Parking:
    """Looks through the list of what is parked, a page each time.

    Args:
        too_long: what has waited longer is shown: in the metrics, in a line of the log, in `/readyz`, in `/v1/parked`.
    """

    def __init__(self, cases: Cases, clock: Clock, rules: Rules, too_long: timedelta, period_s: float) -> None:
        self._cases, self._clock, self._rules = cases, clock, rules
        self._too_long, self._period_s = too_long, period_s
        self._seen = ""
        self._late = 0

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.look()
            await asyncio.sleep(self._period_s)

    async def look(self) -> None:
        """Tidies one page, then counts."""
        await self._tidy()
        now = self._clock()
        oldest = next((row for row in await self._cases.parked("", 1) if row.cause), None)
        late = await self._cases.count_parked(now - self._too_long)
        PARKED.set(await self._cases.count_parked(now))
        PARKED_TOO_LONG.set(late)
        PARKED_OLDEST.set((now - oldest.cause.time).total_seconds() if oldest and oldest.cause else 0)
        if late > self._late and oldest and oldest.cause:
            log.warning(
                "messages wait too long for their predecessors",
                messages=late,
                oldest=oldest.cause.time.isoformat(),
                complaint_id=oldest.file.complaint_id,
                waits_for=waits_for(oldest.file, oldest.cause),
            )
        self._late = late

    def note(self) -> str:
        """For `/readyz`; empty while nothing waits too long."""
        return f"{self._late} have waited longer than {self._too_long}: see GET /v1/parked" if self._late else ""

    async def _tidy(self) -> None:
        """Rows that a crash has left, and what waits for a submission that can come no more."""
        page = await self._cases.parked(self._seen, PAGE)
        self._seen = page[-1].key if len(page) == PAGE else ""
        for file in {row.file.complaint_id: row.file for row in page if row.file.case is None}.values():
            if not file.parked:
                await self._cases.erase(file)
            elif all(cause.time < self._clock() - KEPT for cause in file.parked):
                await self._cases.forget(file, self._rules)
                log.warning(
                    "what waited for a complaint that nobody submitted is let go", complaint_id=file.complaint_id
                )
        await self._cases.unlist([row.key for row in page if row.cause is None])
