"""Consuming in batches: effect first, offset after; what may pass is tried again, what cannot becomes a dead letter.

The rules (DESIGN, Delivery): a dependency that is away holds the batch and is tried without limit; only a record
that fails while its dependencies are there is dead-lettered, alone; if that write fails, no offset is committed;
too many dead letters in a row stop the consumer.
"""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from aiokafka import ConsumerRecord
from chikaya_contracts import messages
from chikaya_contracts.envelope import Event, Headers, Message, Undecodable, decode
from chikaya_contracts.topics import DEAD_LETTERS, Topic
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage

from . import dead_letters
from .clock import Clock
from .faults import DeadLettersExceeded, DependencyDown, TooLarge
from .publishing import KafkaPublisher
from .telemetry import BATCHES, RECORDS, RETRIES, linked_to, tracer

log = structlog.get_logger()

TRIES = 4  # of one record that fails for no outside reason
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 10.0
HOLD_S = 60.0  # then the batch is polled anew: Kafka expels a consumer that does not poll for 5 minutes
DEAD_LETTERS_IN_A_ROW = 20
LOG_APPEND_TIME = 1
SMALL_HEADER = 256  # bytes of name and value: what is kept of a record too large to be copied

Handler = Callable[[Sequence[Event[Message]]], Awaitable[None]]


@dataclass(frozen=True)
class Consumer:
    """What reads some topics. Its group is `<principal>.<name>`; a family of topics is read by its pattern."""

    name: str
    topics: Sequence[Topic]
    handle: Handler
    max_records: int = 500


@dataclass(frozen=True, slots=True)
class _Failure:
    record: ConsumerRecord
    said: str
    attempts: int
    since: datetime

    @property
    def reason(self) -> str:
        """On one line, and short enough for a header."""
        return re.sub(r"\s+", " ", self.said)[:500]


def delays() -> Iterable[float]:
    """Seconds before each further try: doubling, with jitter, up to a limit."""
    delay = FIRST_DELAY_S
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(delay * 2, LONGEST_DELAY_S)


class ConsumerRun:
    """One consumer at work in one process."""

    def __init__(
        self,
        consumer: Consumer,
        service: str,
        publisher: KafkaPublisher,
        clock: Clock,
        transient: tuple[type[Exception], ...],
    ) -> None:
        self.consumer = consumer
        self.stopped: DeadLettersExceeded | None = None
        self.held_by: str | None = None
        self._service, self._publisher, self._clock, self._transient = service, publisher, clock, transient
        self._known = messages.on(*consumer.topics)
        self._dead_letters = DEAD_LETTERS.named(service).name
        self._failed_in_a_row = self._undecodable_in_a_row = 0
        # Members of a family are written by others: one that sends rubbish must not stop the rest.
        self._written_by_others = any(topic.placeholder for topic in consumer.topics)

    def subscribe(self, broker: KafkaBroker, principal: str) -> None:
        """Registers with FastStream, before the broker starts."""
        families = [topic for topic in self.consumer.topics if topic.placeholder]
        if families and len(self.consumer.topics) > 1:
            raise ValueError(f"consumer {self.consumer.name}: a family of topics has a consumer of its own")
        subscriber = broker.subscriber(
            *(topic.name for topic in self.consumer.topics if not families),
            pattern=families[0].pattern if families else None,
            batch=True,
            group_id=f"{principal}.{self.consumer.name}",
            ack_policy=AckPolicy.NACK_ON_ERROR,
            auto_offset_reset="earliest",
            max_records=self.consumer.max_records,
            batch_timeout_ms=50,
            session_timeout_ms=6_000,
            heartbeat_interval_ms=2_000,
            parser=_whole,
            decoder=_raw,
            no_reply=True,
        )

        async def consume(message: KafkaMessage) -> None:
            await self._polled(message.raw_message)

        subscriber(consume)

    async def _polled(self, records: Sequence[ConsumerRecord]) -> None:
        """`process`, and what nobody foresaw said aloud: FastStream polls the batch anew at once, without a word."""
        try:
            await self.process(records)
        except (DependencyDown, DeadLettersExceeded):
            raise
        except Exception as error:
            self.held_by = f"{type(error).__name__} in {_place(error)}"
            log.exception("batch failed, polled anew", consumer=self.consumer.name)
            await asyncio.sleep(1)
            raise

    async def process(self, records: Sequence[ConsumerRecord]) -> None:
        """One batch, to its end: when this returns its offsets may be committed.

        Raises:
            DependencyDown: held too long; to be polled again from where it began.
            DeadLettersExceeded: stopped.
        """
        if self.stopped:
            await asyncio.sleep(1)
            raise self.stopped
        started = time.perf_counter()
        events: list[tuple[ConsumerRecord, Event[Message]]] = []
        for record in records:
            try:
                event = decode(record.topic, record.value, record.headers, self._known)
            except Undecodable as error:
                failure = _Failure(record, f"undecodable: {error}", 1, self._clock())
                await self._set_aside(failure)
                if not self._written_by_others:
                    self._undecodable_in_a_row += 1
                    self._stop_after(self._undecodable_in_a_row, failure)
                continue
            self._undecodable_in_a_row = 0
            if event is None:
                self._count(record, "ignored")
                continue
            if record.timestamp_type == LOG_APPEND_TIME:
                event = replace(event, time=datetime.fromtimestamp(record.timestamp / 1000, UTC))
            events.append((record, event))
        if events:
            links = [link for _, event in events[:32] if (link := linked_to(event.traceparent))]
            with tracer.start_as_current_span(f"{self._service}.{self.consumer.name}", links=links):
                await self._apply(events)
        BATCHES.labels(self._service, self.consumer.name).observe(time.perf_counter() - started)

    async def _apply(self, batch: list[tuple[ConsumerRecord, Event[Message]]]) -> None:
        try:
            await self._handled([event for _, event in batch])
        except (DependencyDown, asyncio.CancelledError):
            raise
        except Exception as error:
            if len(batch) == 1:
                await self._alone(*batch[0], error)
            else:
                log.warning("batch failed: taken apart", consumer=self.consumer.name, error=type(error).__name__)
                for one in batch:
                    await self._apply([one])
            return
        self._failed_in_a_row = 0
        for record, _ in batch:
            self._count(record, "done")

    async def _handled(self, events: list[Event[Message]]) -> None:
        await self._held_while_away(lambda: self.consumer.handle(events))

    async def _held_while_away(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does `work`, again and again until nothing that it needs is away."""
        began = time.monotonic()
        for delay in delays():
            try:
                await work()
            except self._transient as error:
                self.held_by = f"{type(error).__name__}: {error}"
                RETRIES.labels(self._service, self.consumer.name).inc()
                if time.monotonic() - began > HOLD_S:
                    raise DependencyDown(self.held_by) from error
                log.warning("batch held", consumer=self.consumer.name, error=type(error).__name__)
                await asyncio.sleep(delay)
            except Exception:
                self.held_by = None
                raise
            else:
                self.held_by = None
                return

    async def _alone(self, record: ConsumerRecord, event: Event[Message], error: Exception) -> None:
        """A record that failed by itself: a few more tries, then set aside."""
        since = self._clock()
        for attempt, delay in zip(range(2, TRIES + 1), delays(), strict=False):
            await asyncio.sleep(delay)
            try:
                await self._handled([event])
            except (DependencyDown, asyncio.CancelledError):
                raise
            except Exception as again:
                error = again
            else:
                self._failed_in_a_row = 0
                self._count(record, "done")
                log.info("done at a further try", consumer=self.consumer.name, attempt=attempt)
                return
        failure = _Failure(record, f"{type(error).__name__} in {_place(error)}", TRIES, since)
        await self._set_aside(failure)
        self._failed_in_a_row += 1
        self._stop_after(self._failed_in_a_row, failure)

    async def _set_aside(self, failure: _Failure) -> None:
        record, headers = failure.record, self._headers_of(failure, failure.record.headers, "")

        async def whole() -> None:
            # Kafka keeps a record with neither key nor value, but aiokafka sends none.
            value = b"" if record.key is None and record.value is None else record.value
            await self._publisher.send_raw(self._dead_letters, record.key, value, headers)

        async def beginning() -> None:
            # What its topic takes may be too large with our headers, or without its compression.
            small = [pair for pair in record.headers if len(pair[0]) + len(pair[1] or b"") <= SMALL_HEADER][:32]
            size = f" ({len(record.value or b'')} bytes: too large to be copied, to be read where it lies)"
            key = record.key and record.key[:SMALL_HEADER]
            await self._publisher.send_raw(self._dead_letters, key, b"", self._headers_of(failure, small, size))

        try:
            await self._held_while_away(whole)
        except TooLarge:
            await self._held_while_away(beginning)
        self._count(record, "dead_letter")
        where = f"{record.topic}[{record.partition}]"
        log.error("dead letter", consumer=self.consumer.name, where=where, offset=record.offset, reason=failure.reason)

    def _headers_of(self, failure: _Failure, original: Headers, remark: str) -> list[tuple[str, bytes | None]]:
        return dead_letters.headers(
            original,
            topic=failure.record.topic,
            partition=failure.record.partition,
            offset=failure.record.offset,
            consumer=self.consumer.name,
            reason=failure.reason + remark,
            attempts=failure.attempts,
            first_failed_at=failure.since,
            last_failed_at=self._clock(),
        )

    def _stop_after(self, in_a_row: int, last: _Failure) -> None:
        """Raises DeadLettersExceeded when that many are an outage."""
        if in_a_row < DEAD_LETTERS_IN_A_ROW:
            return
        self.stopped = DeadLettersExceeded(
            f"{in_a_row} records in a row failed on {last.record.topic}[{last.record.partition}]; the last: "
            f"{last.reason}; stopped at offset {last.record.offset}. Mend the cause, then restart this process."
        )
        log.critical("consumer stopped", consumer=self.consumer.name, error=str(self.stopped))
        raise self.stopped

    def _count(self, record: ConsumerRecord, outcome: str) -> None:
        RECORDS.labels(self._service, self.consumer.name, record.topic, outcome).inc()


async def _whole(
    records: tuple[ConsumerRecord, ...], parse: Callable[[tuple[ConsumerRecord, ...]], Awaitable[KafkaMessage]]
) -> KafkaMessage:
    """FastStream's parser, kept from headers: at one that is null or no text it would skip the batch, unhandled."""
    message = await parse((replace(records[0], headers=()),))
    message.raw_message = records
    return message


async def _raw(message: KafkaMessage) -> None:
    """FastStream's decoder, doing nothing: records are decoded here, each alone."""


def _place(error: Exception) -> str:
    """Where an exception was raised; its message may hold personal data."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else "?"
