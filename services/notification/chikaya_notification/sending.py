"""Sending what is due, one loop for each means, several notices at once.

A notice is claimed for a while, sent, and recorded: several instances share the work, and one that dies leaves nothing
claimed for long. What was sent and not yet recorded is sent again with the same id, which marks it as a repeat. A new
notice is written already claimed by the process that has decided it, and sent from memory; what this process cannot
take in hand, what is tried again, and what a dead process had claimed is found in the store.
"""

import asyncio
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import structlog
from chikaya_contracts.submission import NoticeLanguage
from chikaya_servicekit.backoff import delays
from chikaya_servicekit.clock import Clock
from prometheus_client import Counter, Gauge

from .domain import delivery
from .domain.delivery import Away, Deferred, Refused
from .domain.matrix import Means
from .domain.notices import Contact, Notice
from .domain.wording import Name
from .names import Names
from .outcomes import Ended, Outcomes
from .stores import Notices

log = structlog.get_logger()

NOTICES = Counter("chikaya_notices_total", "Tries to send a notice, by what came of them.", ["by", "notice", "result"])
AWAY = Gauge("chikaya_notices_server_away", "1 while the mail server or the SMS gateway is away.", ["by"])

IN_HAND = 1_000
"""Notices that wait in memory, at most: a few seconds' work, which a kill delays until their claims end."""
UNRECORDED = 64
"""Notices that are under way or sent and not recorded yet, at most: what a kill may repeat."""
BATCH, LOOK_FOR = 100, 10_000
LOOK_EVERY = timedelta(seconds=1)
LEAVE_WITHIN_S = 10.0
LOOK_AGAIN_AFTER_S = 5.0
"""After the database was away: those who had sent meanwhile record it first, whose claims may have ended."""

Deliver = Callable[[Notice, NoticeLanguage, str, Name | None], Awaitable[None]]
"""Hands one notice over to its server: (notice, language, address, administration's name).

Raises:
    Refused, Deferred, Away: it was not taken.
"""

Addressed = tuple[Notice, Contact | None]
"""A notice and where it goes: None when that has been erased."""


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
        names: Names,
        outcomes: Outcomes,
        clock: Clock,
        at_once: int,
        lease: timedelta = timedelta(minutes=1),
        transient: tuple[type[Exception], ...] = (),
    ) -> None:
        self.by = by
        self.held_by = ""
        self._deliver, self._store, self._names = deliver, store, names
        self._outcomes, self._clock, self._transient = outcomes, clock, transient
        self._slots, self._unrecorded = asyncio.Semaphore(at_once), asyncio.Semaphore(UNRECORDED)
        self._lease, self._try_within = lease, lease / 2
        self._woken, self._leaving = asyncio.Event(), asyncio.Event()
        self._went_away = False
        self._taken: deque[Addressed] = deque()
        self._ours: set[str] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._untried: list[Notice] = []
        # While others may be due in the store, new notices go there too: the older are sent first.
        self._others_due, self._look_from = True, clock()
        self._found: deque[str] = deque()

    def offer(self, notices: Sequence[Notice]) -> list[Notice]:
        """As many of these new notices as this process can send now, claimed; when they are kept, `take` them. The
        rest is to be kept as it is."""
        room = IN_HAND - len(self._taken)
        if self._others_due or self.held_by or self._leaving.is_set():
            room = 0
        self._others_due |= room < len(notices)
        due = self._clock() + self._lease
        return [replace(notice, due=due) for notice in notices[: max(0, room)]]

    async def take(self, notices: Sequence[Addressed]) -> None:
        """Sends these, which have been claimed by `offer` and kept, from memory."""
        if self._leaving.is_set():
            await self._store.release([notice for notice, _ in notices], self._clock())
        else:
            self._take(notices)
        self._woken.set()

    def look(self) -> None:
        """There are new ones in the store: no need to wait for the next look."""
        self._others_due = True
        self._woken.set()

    async def run(self) -> None:
        """Sends for as long as the process lives; told to leave, it ends what is under way and gives back the rest."""
        self._leaving.clear()
        while True:
            work = asyncio.create_task(self._send_until_through())
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                self._leaving.set()
                await asyncio.wait([work], timeout=LEAVE_WITHIN_S)
                work.cancel()
                raise
            except self._transient as error:
                log.warning("sending held", by=self.by, error=type(error).__name__)
                await asyncio.sleep(LOOK_AGAIN_AFTER_S)
                self._others_due = True
                continue
            await _set_within(self._woken, LOOK_EVERY.total_seconds())
            self._woken.clear()

    async def _send_until_through(self) -> None:
        for delay in delays():
            await self.send_due()
            if not self._went_away or await _set_within(self._leaving, delay):
                return

    async def send_due(self) -> None:
        """Tries what is due, until nothing is or the server is away, and records what came of it.

        A server that is away is named in `held_by`, and leaves the notices that it did not take as they were; while
        one is, a single notice asks whether it is back.
        """
        self._went_away = False
        try:
            while not self._stopped:
                await self._give_back()
                asking = bool(self.held_by)
                batch = await self._next(1 if asking else BATCH)
                if not batch:
                    break
                try:
                    names = await self._names.of({slug for one, _ in batch if (slug := one.facts.administration)})
                except self._transient:
                    self._taken.extendleft(reversed(batch))
                    raise
                for notice, contact in batch:
                    await self._unrecorded.acquire()
                    name = names.get(notice.facts.administration or "")
                    self._under_way.add(asyncio.create_task(self._handle(notice, contact, name)))
                if asking:
                    await asyncio.wait(self._under_way)
        finally:
            await self._settle()

    @property
    def _stopped(self) -> bool:
        return self._went_away or self._leaving.is_set()

    def _take(self, notices: Sequence[Addressed]) -> None:
        self._ours.update(notice.id for notice, _ in notices)
        self._taken.extend(notices)

    async def _next(self, at_most: int) -> list[Addressed]:
        """What is to be sent next, what was found in the store before what has come since; nothing when nothing is
        due."""
        while self._found or not self._taken:
            now = self._clock()
            if not self._found:
                if not self._others_due and now < self._look_from:
                    return []
                self._others_due, self._look_from = False, now + LOOK_EVERY
                self._found = deque(await self._store.due(self.by, now, LOOK_FOR))
                if not self._found:
                    return []
                self._others_due = True
            ids = [self._found.popleft() for _ in range(min(at_most, len(self._found)))]
            claimed = await self._store.claim(self.by, [id for id in ids if id not in self._ours], now, self._lease)
            contacts = await self._store.contacts({notice.complaint_id for notice in claimed})
            if claimed:
                self._ours.update(notice.id for notice in claimed)
                return [(notice, contacts.get(notice.complaint_id)) for notice in claimed]
            if not self._found and not self._taken:
                return []  # all that is due is in hand here already, and not recorded yet
        return [self._taken.popleft() for _ in range(min(at_most, len(self._taken)))]

    async def _settle(self) -> None:
        """Waits for what is under way, and gives back what was not tried."""
        ends = await asyncio.gather(*self._under_way, return_exceptions=True)
        self._under_way.clear()
        if self._stopped:
            self._untried += [notice for notice, _ in self._taken]
            self._taken.clear()
        await self._give_back()
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def _give_back(self) -> None:
        """Lets go of what was not tried, to be claimed anew before what has come since."""
        if self._untried:
            untried, self._untried = self._untried, []
            self._ours.difference_update(notice.id for notice in untried)
            await self._store.release(untried, self._clock())
            self._found.extendleft(notice.id for notice in reversed(untried))
            self._others_due = True

    async def _handle(self, notice: Notice, contact: Contact | None, name: Name | None) -> None:
        """One notice: tried and recorded, or left untried."""
        try:
            async with self._slots:
                # One that has waited its turn for too long would be tried when its claim might end.
                late = self._clock() + self._try_within > notice.due
                ended = None if late or self._stopped else await self._try(notice, contact, name)
            if ended is None:
                self._untried.append(notice)
                return
            after = await self._outcomes.record(ended)
            NOTICES.labels(self.by, notice.notice, "deferred" if after.state == "pending" else after.state).inc()
            self._ours.discard(notice.id)
        finally:
            self._unrecorded.release()

    async def _try(self, notice: Notice, contact: Contact | None, name: Name | None) -> Ended | None:
        """What the try has led to; None when the server is away."""
        address = contact.address(self.by) if contact else None
        if contact is None or address is None:
            return partial(delivery.erased, notice)
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
        return partial(delivery.sent, notice)

    def _failed(self, notice: Notice, error: Exception) -> Ended:
        if isinstance(error, Refused):
            log.info("notice refused", notice=notice.id, by=self.by, reason=str(error))
            return partial(delivery.refused, notice, str(error))
        if isinstance(error, TimeoutError):
            return partial(delivery.deferred, notice, "no answer in time")
        if isinstance(error, Deferred):
            return partial(delivery.deferred, notice, str(error))
        # Ours, and this notice's alone: the others go on. The error's own words may hold an address.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno}"
        log.error("notice not handed over", notice=notice.id, by=self.by, error=type(error).__name__, where=where)
        return partial(delivery.deferred, notice, type(error).__name__)

    def _hold(self, reason: str) -> None:
        if reason and not self.held_by:
            log.warning("server away: notices wait", by=self.by, reason=reason)
        if self.held_by and not reason:
            log.info("server back", by=self.by)
        self.held_by, self._went_away = reason, bool(reason)
        AWAY.labels(self.by).set(bool(reason))


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
