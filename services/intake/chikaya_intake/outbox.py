"""The outbox: whatever is accepted reaches Kafka, at once when Kafka is there, later and in order when it is not.

Each run of a process writes what it accepts into a book of its own, one page at a time, and marks up to which page
Kafka has all of it; nothing is written to a complaint when it has been relayed. A page whose write is in doubt ends its
book, so that what a book holds below its last page is certain. Books that nobody writes in any more are read from their
mark on by whoever finds them; two who do so at once, or one who takes a living process for a dead one, publish twice
and lose nothing.

A complaint may be published twice with the same event id (after a crash between Kafka and the mark); who consumes it
absorbs that. It is never published less than once, and never forgotten before.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import structlog
from chikaya_contracts.ids import new_id
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.publishing import Publisher
from prometheus_client import Gauge

from .domain.acceptance import Complaint
from .stores import APART, NOTHING, Attachments, Book, Clash, Complaints, Waiting

log = structlog.get_logger()

WAITING = Gauge("chikaya_intake_waiting", "Accepted complaints that Kafka should have by now and has not.")
OLDEST = Gauge("chikaya_intake_oldest_waiting_seconds", "How long the oldest of them has waited.")

AT_ONCE = 500
MARK_EVERY_S = 0.5
"""What a crash makes be published twice is at most what was relayed in this time."""
LIVES_EVERY = timedelta(seconds=2)
GONE_AFTER = timedelta(seconds=6)
"""The process that writes in a book has ended when it has not been heard of for so long."""
CERTAIN_AFTER = timedelta(hours=1)
"""Longer than any write can still be under way after its process has ended."""
LOOK_EVERY_S = 2.0
FORGET_EVERY = timedelta(minutes=1)
LATE_AFTER = timedelta(seconds=5)
IN_MEMORY_AT_MOST = 5_000
FORGOTTEN_AFTER = timedelta(days=7)
"""A key can be repeated for so long after its complaint was accepted; then intake's copy is removed, once Kafka has it.
It is tracking that keeps the case."""
BOOK_KEPT_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class _Page:
    """Complaints that were kept in one write."""

    number: int
    complaints: list[Complaint]


@dataclass(slots=True, eq=False)
class _OwnBook:
    """The book that this process writes in.

    Pages after `relayed` up to `left_out` are in the store alone, those after `left_out` in `pages` too.
    """

    id: str
    seen: datetime
    written: int = 0
    relayed: int = 0
    marked: int = 0
    left_out: int = 0
    oldest_left_out: int = 0
    waiting: int = 0
    in_memory: int = 0
    pages: deque[_Page] = field(default_factory=deque)

    def turn(self, page: _Page) -> None:
        """A page more. When memory is full, the store has them all."""
        self.written = page.number
        self.waiting += len(page.complaints)
        self.in_memory += len(page.complaints)
        self.pages.append(page)
        if self.in_memory > IN_MEMORY_AT_MOST:
            if self.left_out <= self.relayed:
                self.oldest_left_out = self.pages[0].number
            self.left_out, self.in_memory = page.number, 0
            self.pages.clear()

    def published(self, up_to: int) -> None:
        """Kafka has all pages up to this one."""
        self.relayed = max(self.relayed, up_to)
        while self.pages and self.pages[0].number <= up_to:
            count = len(self.pages.popleft().complaints)
            self.in_memory -= count
            self.waiting -= count
        if self.left_out <= self.relayed:
            self.waiting = self.in_memory

    @property
    def oldest(self) -> int:
        """The first page that waits; 0 when none does."""
        if self.left_out > self.relayed:
            return max(self.oldest_left_out, self.relayed)
        return self.pages[0].number if self.pages else 0


class Outbox:
    """Keeps accepted complaints and relays them. Those of this process go straight from memory."""

    def __init__(
        self,
        complaints: Complaints,
        attachments: Attachments,
        publisher: Publisher,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._complaints, self._attachments = complaints, attachments
        self._publisher, self._clock, self._sleep = publisher, clock, sleep
        self._book: _OwnBook | None = None
        self._one_page_at_a_time = asyncio.Lock()
        self._more = asyncio.Event()
        self._ended: dict[str, _OwnBook] = {}
        self._certain: set[str] = set()
        self._left_behind = NOTHING
        self._forgot_at: datetime | None = None

    async def keep(self, complaints: Sequence[Complaint]) -> dict[str, Clash]:
        """Keeps complaints, all in one write, to be relayed; gives those (by id) that are not kept, and why.

        Raises:
            Exception: the store's. None of them is confirmed; those that were written all the same will be relayed.
        """
        if not complaints:
            return {}
        async with self._one_page_at_a_time:
            book = self._book or await self._open()
            number = max(book.written + 1, _page_at(self._clock()))
            try:
                clashes = await self._complaints.add(complaints, book.id, number)
            except BaseException:
                # They may be there, or come yet: no mark may ever pass this page.
                self._book, self._ended[book.id] = None, book
                raise
            if kept := [complaint for complaint in complaints if complaint.id not in clashes]:
                book.turn(_Page(number, kept))
                self._more.set()
        return clashes

    async def _open(self) -> _OwnBook:
        book = _OwnBook(new_id(), self._clock())
        # Before its first page: a book that is not listed is never read.
        await self._complaints.live(Book(book.id, 0, book.seen))
        self._book = book
        return book

    async def relay_for_ever(self) -> None:
        """Publishes what this process accepts. Raises what the broker raises, to be begun again where it was."""
        try:
            while True:
                await self.relay()
                await self._more.wait()
        except asyncio.CancelledError:
            # The process ends: what it has accepted is finished, so that the next one has nothing to repeat.
            with suppress(Exception):
                async with asyncio.timeout(LIVES_EVERY.total_seconds()):
                    await self.relay()
                    await self.live()
            raise

    async def relay(self) -> None:
        """Publishes all that this process has kept and not relayed.

        Raises:
            DependencyDown: Kafka does not have all of it; what it has not goes on waiting.
        """
        self._more.clear()
        for book in (*self._ended.values(), self._book):
            if book:
                await self._relay_own(book)

    async def _relay_own(self, book: _OwnBook) -> None:
        while book.left_out > book.relayed:
            await self._relay_left_out(book)
        while pages := _some(book.pages):
            await self._publish([complaint for page in pages for complaint in page.complaints])
            book.published(pages[-1].number)

    async def _relay_left_out(self, book: _OwnBook) -> None:
        until = book.left_out
        async for entries in self._complaints.entries(book.id, book.relayed, until, AT_ONCE):
            await self._publish([complaint for _, complaint in entries])
            book.published(entries[-1][0] - 1)  # its page may go on in the next ones
        book.published(until)

    async def recover_for_ever(self) -> None:
        """Relays what others have left, and forgets what is old. Raises what the broker or the store raises."""
        while True:
            await self.forget()
            await self.recover()
            await self._sleep(LOOK_EVERY_S)

    async def recover(self) -> None:
        """Relays what waits in books that nobody writes in any more, oldest first."""
        now = self._clock()
        gone: list[tuple[Book, Waiting]] = []
        for book in await self._complaints.books():
            if book.id in self._certain or not self._is_gone(book, now):
                continue
            if (own := self._ended.get(book.id)) and own.relayed > book.relayed:
                await self._complaints.mark(book.id, own.relayed)
                book = replace(book, relayed=own.relayed)
            if (left := await self._complaints.waiting(book.id, book.relayed)).count:
                gone.append((book, left))
            elif now - book.seen > CERTAIN_AFTER:
                self._certain.add(book.id)
                self._ended.pop(book.id, None)
        self._left_behind = _sum(left for _, left in gone)
        for book, left in gone:
            await self._relay_gone(book, left.newest)
        if gone:
            log.info("relayed what was left behind", complaints=self._left_behind.count, books=len(gone))
        self._left_behind = NOTHING

    def _is_gone(self, book: Book, now: datetime) -> bool:
        if self._book and book.id == self._book.id:
            return False
        if own := self._ended.get(book.id):
            return not own.waiting  # what is certain of it is relayed first, as any own book
        return now - book.seen > GONE_AFTER

    async def _relay_gone(self, book: Book, newest: int) -> None:
        """Relays what was in a book when it was seen to end with page `newest`.

        All pages before that one were complete then, so that the mark may pass them. More of the newest may come yet:
        the mark stays before it, and what Kafka has of it is set apart.
        """
        relayed, on_newest = book.relayed, list[Complaint]()
        async for entries in self._complaints.entries(book.id, relayed, newest, AT_ONCE):
            await self._publish([complaint for _, complaint in entries])
            if (certain := entries[-1][0] - 1) > relayed:
                await self._complaints.mark(book.id, certain)
                relayed = certain
            on_newest += [complaint for page, complaint in entries if page == newest]
        await self._complaints.set_apart(book.id, newest, on_newest)

    async def _publish(self, complaints: Sequence[Complaint]) -> None:
        await self._publisher.publish([complaint.event for complaint in complaints])
        for complaint in complaints:
            if files := complaint.message.attachments:
                # Before the mark: from then on, the complaint that says whose files these are may be forgotten.
                await self._attachments.settle(complaint.id, [file.id for file in files])

    async def live_for_ever(self) -> None:
        """Marks how far Kafka has this process's book, and says that the process lives."""
        while True:
            waiting = self.waiting()
            WAITING.set(waiting.count)
            OLDEST.set(self._age(waiting).total_seconds())
            await self.live()
            await self._sleep(MARK_EVERY_S)

    async def live(self) -> None:
        """The same once, when there is something to say."""
        book, now = self._book, self._clock()
        if book and (book.relayed > book.marked or now - book.seen >= LIVES_EVERY):
            relayed = book.relayed
            await self._complaints.live(Book(book.id, relayed, now))
            book.marked, book.seen = relayed, now

    async def forget(self) -> None:
        """Removes, once a minute, what was accepted more than `FORGOTTEN_AFTER` ago and has been relayed."""
        now = self._clock()
        if self._forgot_at and now - self._forgot_at < FORGET_EVERY:
            return
        old = _page_at(now - FORGOTTEN_AFTER)
        for book in await self._complaints.books():
            await self._complaints.forget(book.id, min(book.relayed, old))
            if now - book.seen > BOOK_KEPT_FOR and not (await self._complaints.waiting(book.id, 0)).count:
                await self._complaints.remove_book(book.id)
        await self._complaints.forget(APART, old)
        self._forgot_at = now

    def waiting(self) -> Waiting:
        """What Kafka should have by now and has not: of this process, and left behind by those that have ended."""
        own = [book for book in (*self._ended.values(), self._book) if book and book.waiting]
        found = _sum([*(Waiting(book.waiting, book.oldest, book.written) for book in own), self._left_behind])
        return found if self._age(found) >= LATE_AFTER else NOTHING

    def _age(self, waiting: Waiting) -> timedelta:
        return self._clock() - datetime.fromtimestamp(waiting.oldest / 1000, UTC) if waiting.count else timedelta()

    def note(self) -> str:
        """For `/readyz`: how many wait, and for how long, when any does."""
        if not (waiting := self.waiting()).count:
            return ""
        return f"{waiting.count} accepted complaints wait for Kafka, the oldest for {self._age(waiting).seconds} s"


def _page_at(moment: datetime) -> int:
    """Pages are numbered by when they were written, in milliseconds since the epoch: so their numbers say their age."""
    return int(moment.timestamp() * 1000)


def _sum(parts: Iterable[Waiting]) -> Waiting:
    there = [part for part in parts if part.count]
    if not there:
        return NOTHING
    return Waiting(sum(p.count for p in there), min(p.oldest for p in there), max(p.newest for p in there))


def _some(pages: deque[_Page]) -> list[_Page]:
    """The first pages, of `AT_ONCE` complaints or little more."""
    count = 0

    def room(page: _Page) -> bool:
        nonlocal count
        count += len(page.complaints)
        return count - len(page.complaints) < AT_ONCE

    return list(takewhile(room, pages))
