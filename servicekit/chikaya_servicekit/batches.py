"""One batch to its end: effect first; what may pass is tried again, what cannot becomes a dead letter.

The rules (DESIGN, Delivery): a dependency that is away holds the batch and is tried without limit; only a record
that fails while its dependencies are there is dead-lettered, alone, and later records of its key park behind it; if
that write fails, the batch does not end; too many dead letters stop the consumer.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NoReturn

import structlog
from aiokafka import ConsumerRecord
from chikaya_contracts import messages
from chikaya_contracts.envelope import Event, Message, Undecodable, decode
from chikaya_contracts.topics import DEAD_LETTERS, Topic

from . import dead_letters
from .backoff import delays
from .clock import Clock
from .faults import DeadLettersExceeded
from .letters import Letters
from .publishing import KafkaPublisher
from .telemetry import RECORDS, RETRIES, linked_to, tracer

log = structlog.get_logger()

TRIES = 4  # of one record that fails for no outside reason: within about a second
IN_A_ROW = 20
SHARE, OF_THE_LATEST = 0.1, 1_000
LOG_APPEND_TIME = 1
COPIED_AT_MOST = 1_000_000  # bytes; Kafka takes 1 MiB, and a dead letter has headers of its own
SMALL_HEADER = 256  # bytes of name and value: what is kept of a record too large to be copied

Handler = Callable[[Sequence[Event[Message]]], Awaitable[None]]
Hold = Callable[[str | None], None]
"""Told what a batch waits for; None when it goes on."""

_Read = tuple[ConsumerRecord, Event[Message]]


@dataclass(frozen=True, slots=True)
class _Failure:
    record: ConsumerRecord
    said: str
    attempts: int
    since: datetime
    behind: int | None = None

    @property
    def reason(self) -> str:
        """On one line, and short enough for a header."""
        return re.sub(r"\s+", " ", self.said)[:500]


class Limit:
    """When dead letters are an outage and not bad data: so many in a row, or too large a share of the latest."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._passed = self._failed = 0

    def passed(self, count: int) -> None:
        """So many records went through."""
        self._in_a_row = 0
        self._passed += count
        if self._passed + self._failed > OF_THE_LATEST:
            self._passed, self._failed = self._passed // 2, self._failed // 2

    def failed(self) -> str:
        """One more has failed; says what is too much, if anything is."""
        self._in_a_row += 1
        self._failed += 1
        seen = self._passed + self._failed
        if self._in_a_row >= IN_A_ROW:
            return f"{self._in_a_row} records in a row failed"
        if seen >= OF_THE_LATEST / 5 and self._failed > SHARE * seen:
            return f"{self._failed} of the latest {seen} records failed"
        return ""


class Batches:
    """What one consumer does with each batch that it is given. Batches of different keys may run side by side.

    Args:
        letters: what is known of this service's dead letters.
        transient: exceptions that mean that something outside is away.
    """

    def __init__(
        self,
        name: str,
        topics: Sequence[Topic],
        handle: Handler,
        service: str,
        publisher: KafkaPublisher,
        letters: Letters,
        clock: Clock,
        transient: tuple[type[Exception], ...],
    ) -> None:
        self._name, self._handle, self._service = name, handle, service
        self._publisher, self._letters, self._clock, self._transient = publisher, letters, clock, transient
        self._known = messages.on(*topics)
        self._dead_letters = DEAD_LETTERS.named(service).name
        self._undecodable, self._failures = Limit(), Limit()
        # Members of a family are written by others: one that sends rubbish must not stop the rest.
        self._written_by_others = any(topic.placeholder for topic in topics)

    async def process(self, records: Sequence[ConsumerRecord], hold: Hold) -> None:
        """One batch, in order for each key: when this returns, its offsets may be committed.

        Raises:
            DeadLettersExceeded: so much fails that the consumer is to stop.
        """
        events: list[_Read] = []
        undecodable: list[_Failure] = []
        ignored: Counter[str] = Counter()
        too_much = ""
        for record in records:
            if self._letters.passed_over(self._name, record):
                continue
            try:
                event = decode(record.topic, record.value, record.headers, self._known)
            except Undecodable as error:
                undecodable.append(_Failure(record, f"{dead_letters.UNDECODABLE}: {error}", 1, self._clock()))
                too_much = too_much or self._undecodable.failed()
                continue
            self._undecodable.passed(1)
            if event is None:
                ignored[record.topic] += 1
            else:
                events.append((record, self._at_legal_time(record, event)))
        self._count(ignored, "ignored")
        await self._set_aside(undecodable, hold)
        if events:
            links = [link for _, event in events[:32] if (link := linked_to(event.traceparent))]
            with tracer.start_as_current_span(f"{self._service}.{self._name}", links=links):
                await self._apply(events, hold)
        if too_much and not self._written_by_others:
            self._stop(too_much, undecodable[-1])

    def _at_legal_time(self, record: ConsumerRecord, event: Event[Message]) -> Event[Message]:
        """Where the broker's time is the legal one, it is the event's; of a replay, that of the first time."""
        if record.timestamp_type != LOG_APPEND_TIME:
            return event
        replayed = self._letters.replayed(self._name, record)
        moment = replayed.timestamp if replayed and replayed.timestamp else record.timestamp
        return replace(event, time=datetime.fromtimestamp(moment / 1000, UTC))

    async def _apply(self, batch: Sequence[_Read], hold: Hold) -> None:
        """Handles a batch whole, or, where that fails, each half by itself, down to the record that is to blame."""
        batch = await self._without_parked(batch, hold)
        if not batch:
            return
        try:
            await self._handled(batch, hold)
        except Exception as error:
            if len(batch) == 1:
                await self._alone(*batch[0], error, hold)
                return
            log.warning("batch failed: halved", consumer=self._name, records=len(batch), error=type(error).__name__)
            half = len(batch) // 2
            await self._apply(batch[:half], hold)
            await self._apply(batch[half:], hold)

    async def _handled(self, batch: Sequence[_Read], hold: Hold) -> None:
        events = [event for _, event in batch]
        await self._held_while_away(lambda: self._handle(events), hold)
        self._failures.passed(len(batch))
        self._count(Counter(record.topic for record, _ in batch), "done")

    async def _held_while_away(self, work: Callable[[], Awaitable[None]], hold: Hold) -> None:
        """Does `work`, again and again until nothing that it needs is away."""
        try:
            for delay in delays():
                try:
                    return await work()
                except self._transient as error:
                    hold(f"{type(error).__name__}: {error}")
                    RETRIES.labels(self._service, self._name).inc()
                    log.warning("batch held", consumer=self._name, error=type(error).__name__)
                    await asyncio.sleep(delay)
        finally:
            hold(None)

    async def _alone(self, record: ConsumerRecord, event: Event[Message], error: Exception, hold: Hold) -> None:
        """A record that failed by itself: a few more tries, then set aside."""
        since = self._clock()
        for attempt, delay in zip(range(2, TRIES + 1), delays(), strict=False):
            await asyncio.sleep(delay)
            try:
                await self._handled([(record, event)], hold)
            except Exception as again:
                error = again
            else:
                log.info("done at a further try", consumer=self._name, attempt=attempt)
                return
        failure = _Failure(record, f"{type(error).__name__} in {place(error)}", TRIES, since)
        await self._set_aside([failure], hold)
        if too_much := self._failures.failed():
            self._stop(too_much, failure)

    async def _without_parked(self, batch: Sequence[_Read], hold: Hold) -> Sequence[_Read]:
        """The batch less what has to wait for a dead letter of its key: that becomes a dead letter behind it."""
        free: list[_Read] = []
        parked: list[_Failure] = []
        for record, event in batch:
            behind = self._letters.blocking(self._name, record)
            if behind is None:
                free.append((record, event))
            else:
                reason = f"parked behind dead letter {behind}, of the same key"
                parked.append(_Failure(record, reason, 0, self._clock(), behind))
        await self._set_aside(parked, hold)
        return free

    async def _set_aside(self, failures: Sequence[_Failure], hold: Hold) -> None:
        if not failures:
            return
        letters = [self._letter(failure) for failure in failures]
        offsets: list[int] = []

        async def send() -> None:
            offsets[:] = await self._publisher.send_raw([(self._dead_letters, *letter) for letter in letters])

        await self._held_while_away(send, hold)
        for failure, (key, _, headers), offset in zip(failures, letters, offsets, strict=True):
            self._letters.learn(offset, key, headers)
            where = f"{failure.record.topic}[{failure.record.partition}]"
            log.error(
                "dead letter", consumer=self._name, where=where, offset=failure.record.offset, reason=failure.reason
            )
        self._count(Counter(failure.record.topic for failure in failures), "dead_letter")

    def _letter(self, failure: _Failure) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]:
        """(key, value, headers): the record whole, or, if it is too large for that, how it begins."""
        record, original, remark = failure.record, failure.record.headers, ""
        replayed = self._letters.replayed(self._name, record)
        # Kafka keeps a record with neither key nor value, but aiokafka sends none.
        key, value = record.key, b"" if record.key is None and record.value is None else record.value
        size = len(key or b"") + len(value or b"") + sum(len(name) + len(text or b"") for name, text in original)
        if size > COPIED_AT_MOST:
            original = [pair for pair in original if len(pair[0]) + len(pair[1] or b"") <= SMALL_HEADER][:32]
            remark = f" ({len(value or b'')} bytes: {dead_letters.TOO_LARGE}, to be read where it lies)"
            key, value = key and key[:SMALL_HEADER], b""
        headers = dead_letters.headers(
            original,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=replayed.timestamp if replayed else record.timestamp,
            consumer=self._name,
            reason=failure.reason + remark,
            attempts=failure.attempts,
            first_failed_at=failure.since,
            last_failed_at=self._clock(),
            behind=failure.behind,
            position=replayed.position if replayed else None,
        )
        return key, value, headers

    def _stop(self, too_much: str, last: _Failure) -> NoReturn:
        raise DeadLettersExceeded(
            f"{too_much} on {last.record.topic}[{last.record.partition}]; the last: {last.reason}; stopped at offset "
            f"{last.record.offset}. Mend the cause, restart this process, then replay (chikaya dead-letters)."
        )

    def _count(self, topics: Counter[str], outcome: str) -> None:
        for topic, count in topics.items():
            RECORDS.labels(self._service, self._name, topic, outcome).inc(count)


def place(error: Exception) -> str:
    """Where an exception was raised; its message may hold personal data."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else "?"
