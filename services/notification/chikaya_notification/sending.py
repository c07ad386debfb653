"""Sending what is due, one loop for each means, several notices at once.

A notice is claimed for a while, sent, and recorded: several instances share the work, and one that dies leaves nothing
claimed for long. What was sent and not yet recorded is sent again with the same id, which marks it as a repeat.
"""

import asyncio
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog
from chikaya_contracts.submission import NoticeLanguage
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.consuming import delays
from chikaya_servicekit.faults import DependencyDown
from prometheus_client import Counter, Gauge

from .domain import delivery
from .domain.delivery import Away, Deferred, Refused
from .domain.matrix import Means
from .domain.notices import Contact, Notice
from .domain.wording import Name
from .outcomes import Outcomes
from .stores import Administrations, Known, Notices

log = structlog.get_logger()

NOTICES = Counter("chikaya_notices_total", "Tries to send a notice, by what came of them.", ["by", "notice", "result"])
AWAY = Gauge("chikaya_notices_server_away", "1 while the mail server or the SMS gateway is away.", ["by"])

BATCH, LOOK_FOR = 64, 2_000
LOOK_EVERY_S = 1.0
LEAVE_WITHIN_S = 10.0

Deliver = Callable[[Notice, NoticeLanguage, str, Name | None], Awaitable[None]]
"""Hands one notice over to its server: (notice, language, address, administration's name).

Raises:
    Refused, Deferred, Away: it was not taken.
"""


class Sender:
    """The loop of one means.

    Args:
        at_once: how many notices are handed over at the same time.
        lease: how long a notice is claimed. A try may take half of it, so that none outlasts its claim.
        transient: what the store raises while the database is away.
    """

    def __init__(
        self,
        by: Means,
        deliver: Deliver,
        store: Notices,
        administrations: Administrations,
        outcomes: Outcomes,
        clock: Clock,
        at_once: int,
        lease: timedelta = timedelta(minutes=1),
        transient: tuple[type[Exception], ...] = (),
    ) -> None:
        self.by = by
        self.held_by = ""
        self._deliver, self._store, self._administrations = deliver, store, administrations
        self._outcomes, self._clock, self._transient = outcomes, clock, transient
        self._slots, self._lease, self._try_within = asyncio.Semaphore(at_once), lease, lease / 2
        self._woken, self._leaving = asyncio.Event(), asyncio.Event()
        self._went_away = False
        self._queue: deque[str] = deque()

    def wake(self) -> None:
        """There may be something to send: no need to wait for the next look."""
        self._woken.set()

    async def run(self) -> None:
        """Sends for as long as the process lives; told to leave, it ends what is under way and gives back the rest."""
        self._leaving.clear()
        while True:
            work = asyncio.create_task(self._send_all_due())
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                self._leaving.set()
                await asyncio.wait([work], timeout=LEAVE_WITHIN_S)
                work.cancel()
                raise
            await _set_within(self._woken, LOOK_EVERY_S)
            self._woken.clear()

    async def _send_all_due(self) -> None:
        for delay in delays():
            # While the server is away, one notice asks whether it is back.
            while await self.send_due(1 if self.held_by else BATCH) and not (self._went_away or self._leaving.is_set()):
                pass
            if not self._went_away or await _set_within(self._leaving, delay):
                return

    async def send_due(self, at_most: int = BATCH) -> int:
        """Claims the next that are due and tries to send them; gives their number, 0 when nothing is due.

        A server that is away is named in `held_by`, and leaves the notices that it did not take as they were.
        """
        self._went_away = False
        if not self._queue:
            self._queue = deque(await self._store.due(self.by, self._clock(), LOOK_FOR))
        ids = [self._queue.popleft() for _ in range(min(at_most, len(self._queue)))]
        claimed = await self._store.claim(ids, self._clock(), self._lease)
        if not claimed:
            return len(ids)
        known = await self._store.known({notice.complaint_id for notice in claimed})
        names = await self._administrations.named({slug for one in claimed if (slug := one.facts.administration)})

        async def outcome(notice: Notice) -> Notice | None:
            contact = known.get(notice.complaint_id, Known()).contact
            return await self._try(notice, contact, names.get(notice.facts.administration or ""))

        tried = await asyncio.gather(*map(outcome, claimed))
        untried = [notice for notice, after in zip(claimed, tried, strict=True) if after is None]
        await self._store.release(untried, self._clock())
        await self._publish([after for after in tried if after and after.ended_at])
        return len(ids)

    async def _try(self, notice: Notice, contact: Contact | None, name: Name | None) -> Notice | None:
        """The notice after its try, recorded; None when it was not tried."""
        async with self._slots:
            if self._went_away or self._leaving.is_set():
                return None
            if self._clock() + self._try_within > notice.due:
                # It has waited its turn for too long: its claim might end in the middle of the try.
                return None
            after = await self._tried(notice, contact, name)
            if after is None:
                return None
            NOTICES.labels(self.by, notice.notice, "deferred" if after.state == "pending" else after.state).inc()
            # In its slot still: a crash repeats only what has a slot, and nothing is sent that cannot be recorded.
            return after if await self._recorded(after) else notice

    async def _tried(self, notice: Notice, contact: Contact | None, name: Name | None) -> Notice | None:
        address = contact.address(self.by) if contact else None
        if contact is None or address is None:
            return delivery.erased(notice, self._clock())
        try:
            async with asyncio.timeout(self._try_within.total_seconds()):
                await self._deliver(notice, contact.language, address, name)
        except Away as away:
            self._hold(str(away))
            return None
        except Exception as error:
            self._hold("")
            return self._failed(notice, error)
        self._hold("")
        return delivery.sent(notice, self._clock())

    def _failed(self, notice: Notice, error: Exception) -> Notice:
        if isinstance(error, Refused):
            log.info("notice refused", notice=notice.id, by=self.by, reason=str(error))
            return delivery.refused(notice, str(error), self._clock())
        if isinstance(error, TimeoutError):
            return delivery.deferred(notice, "no answer in time", self._clock())
        if isinstance(error, Deferred):
            return delivery.deferred(notice, str(error), self._clock())
        # Ours, and this notice's alone: the others go on. The error's own words may hold an address.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno}"
        log.error("notice not handed over", notice=notice.id, by=self.by, error=type(error).__name__, where=where)
        return delivery.deferred(notice, type(error).__name__, self._clock())

    async def _recorded(self, after: Notice) -> bool:
        """Keeps the outcome of a try, for as long as the notice is ours: what is forgotten would be sent again."""
        for delay in delays():
            try:
                return await self._store.end_try(after)
            except self._transient:
                log.warning("outcome of a try not recorded yet", notice=after.id)
                await asyncio.sleep(delay)
        return False

    def _hold(self, reason: str) -> None:
        if reason and not self.held_by:
            log.warning("server away: notices wait", by=self.by, reason=reason)
        if self.held_by and not reason:
            log.info("server back", by=self.by)
        self.held_by, self._went_away = reason, bool(reason)
        AWAY.labels(self.by).set(bool(reason))

    async def _publish(self, ended: Sequence[Notice]) -> None:
        try:
            await self._outcomes.publish(ended)
        except DependencyDown as error:
            log.warning("outcomes published later", count=len(ended), error=str(error))


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
