"""Consuming: FastStream polls, records are worked in lanes, in order and in batches, offsets committed after effects.

A lane is what must stay in order: of a consumer of fixed topics, one partition number (such topics have the same
number of partitions and the same key, so a complaint is in one lane of all of them); of a family of topics, one
partition of one topic. While a lane works a batch, its next records gather: batches grow under load by themselves,
and a lane that is held or slow delays no other. What polls goes on polling, so that a consumer that waits for
something stays in its group.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError
from chikaya_contracts.topics import Topic
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage

from .backoff import delays
from .batches import Batches, Handler, place
from .clock import Clock
from .faults import DeadLettersExceeded
from .letters import Letters
from .publishing import KafkaPublisher
from .telemetry import BATCHES

log = structlog.get_logger()

LANES_AHEAD = 2  # batches that may gather in a lane before its partitions are paused
COMMIT_EVERY_S, COMMIT_WITHIN_S = 0.1, 10.0
SETTLE_WITHIN_S = 8.0  # for what is in hand when partitions are taken away or the process is to leave


@dataclass(frozen=True)
class Consumer:
    """What reads some topics. Its group is `<principal>.<name>`; a family of topics is read by its pattern.

    `handle` is given batches of at most `max_records` events; several at once, of different lanes.
    """

    name: str
    topics: Sequence[Topic]
    handle: Handler
    max_records: int = 500


@dataclass(eq=False)
class _Lane:
    """What waits, and the task that works it."""

    waiting: list[ConsumerRecord] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    paused: set[TopicPartition] = field(default_factory=set)
    held_by: str | None = None

    def hold(self, reason: str | None) -> None:
        self.held_by = reason

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()


class ConsumerRun(ConsumerRebalanceListener):
    """One consumer at work in one process."""

    def __init__(
        self,
        consumer: Consumer,
        service: str,
        publisher: KafkaPublisher,
        letters: Letters,
        clock: Clock,
        transient: tuple[type[Exception], ...],
    ) -> None:
        self.consumer = consumer
        self.stopped: DeadLettersExceeded | None = None
        self._service, self._letters, self._transient = service, letters, transient
        self._batches = Batches(
            consumer.name, consumer.topics, consumer.handle, service, publisher, letters, clock, transient
        )
        self._families = [topic for topic in consumer.topics if topic.placeholder]
        if self._families and len(consumer.topics) > 1:
            raise ValueError(f"consumer {consumer.name}: a family of topics has a consumer of its own")
        self._lanes: dict[Hashable, _Lane] = {}
        self._kafka: AIOKafkaConsumer | None = None
        self._done: dict[TopicPartition, int] = {}
        self._committing: asyncio.Task[None] | None = None
        self._known, self._learning = False, asyncio.Lock()
        self._leaving = self._rebalancing = False

    @property
    def held_by(self) -> str | None:
        """What a lane waits for, if one does."""
        return next((lane.held_by for lane in self._lanes.values() if lane.held_by), None)

    def subscribe(self, broker: KafkaBroker, principal: str) -> None:
        """Registers with FastStream, before the broker starts."""
        subscriber = broker.subscriber(
            *(topic.name for topic in self.consumer.topics if not self._families),
            pattern=self._families[0].pattern if self._families else None,
            batch=True,
            group_id=f"{principal}.{self.consumer.name}",
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            max_records=self.consumer.max_records,
            batch_timeout_ms=50,
            session_timeout_ms=6_000,
            heartbeat_interval_ms=2_000,
            # A range gives equal numbers of all its topics to one instance: a lane is whole there.
            partition_assignment_strategy=[RoundRobinPartitionAssignor if self._families else RangePartitionAssignor],
            listener=self,
            parser=_whole,
            decoder=_raw,
            no_reply=True,
        )

        async def consume(message: KafkaMessage) -> None:
            self._take(message.raw_message, message.consumer)

        subscriber(consume)

    def _take(self, records: Iterable[ConsumerRecord], kafka: AIOKafkaConsumer) -> None:
        """Gives records to their lanes; a lane that has enough is polled no more until it has worked some off."""
        self._kafka = kafka
        mine = kafka.assignment()
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            if self._leaving or self._rebalancing or partition not in mine:
                continue  # polled just before it was taken away: who is given it reads it from what was committed
            lane = self._lanes.setdefault(partition if self._families else record.partition, _Lane())
            lane.waiting.append(record)
            if len(lane.waiting) >= LANES_AHEAD * self.consumer.max_records and partition not in lane.paused:
                kafka.pause(partition)
                lane.paused.add(partition)
        for lane in self._lanes.values():
            if lane.waiting and not lane.busy and not self.stopped:
                lane.task = asyncio.create_task(self._work(lane))

    async def _work(self, lane: _Lane) -> None:
        """Works a lane's batches until none waits."""
        size = self.consumer.max_records
        while lane.waiting and not self.stopped:
            batch, lane.waiting = lane.waiting[:size], lane.waiting[size:]
            if lane.paused and len(lane.waiting) < size:
                self._resume(lane)
            started = time.perf_counter()
            try:
                await self._to_its_end(lane, batch)
            except DeadLettersExceeded as error:
                self.stopped = error
                for other in self._lanes.values():
                    if other is not lane and other.task:
                        other.task.cancel()
                log.critical("consumer stopped", consumer=self.consumer.name, error=str(error))
                return
            BATCHES.labels(self._service, self.consumer.name).observe(time.perf_counter() - started)
            for record in batch:
                self._done[TopicPartition(record.topic, record.partition)] = record.offset + 1
            if self._committing is None or self._committing.done():
                self._committing = asyncio.create_task(self._commit_soon())

    async def _to_its_end(self, lane: _Lane, batch: Sequence[ConsumerRecord]) -> None:
        """One batch; a failure of what is outside, or that nobody foresaw in the kit itself, is said and tried again.

        Raises:
            DeadLettersExceeded: see `Batches.process`.
        """
        for delay in delays():
            try:
                await self._letters_known()
                await self._batches.process(batch, lane.hold)
            except DeadLettersExceeded:
                raise
            except self._transient as error:
                lane.hold(f"{type(error).__name__}: {error}")
            except Exception as error:
                reason = f"{type(error).__name__} in {place(error)}"
                if self.held_by != reason:
                    log.exception("batch failed, tried again", consumer=self.consumer.name)
                lane.hold(reason)
            else:
                lane.hold(None)
                return
            await asyncio.sleep(delay)

    async def _letters_known(self) -> None:
        """Returns when all dead letters are known that others set aside before these partitions came here."""
        if not self._known:
            async with self._learning:
                if not self._known:
                    await self._letters.caught_up()
                    self._known = True

    def _resume(self, lane: _Lane) -> None:
        if self._kafka is not None:
            self._kafka.resume(*(lane.paused & self._kafka.assignment()))
        lane.paused.clear()

    # -- offsets

    async def _commit_soon(self) -> None:
        """Commits what is done, again while more gets done meanwhile."""
        for delay in delays():
            await asyncio.sleep(COMMIT_EVERY_S)
            if await self._commit():
                if not self._done:
                    return
            else:
                await asyncio.sleep(delay)

    async def _commit(self) -> bool:
        """False when Kafka did not take it; what is not committed is delivered again, and repeats nothing."""
        if self._kafka is None:
            return True
        mine, lanes = self._kafka.assignment(), self._lanes
        offsets = {partition: offset for partition, offset in self._done.items() if partition in mine}
        self._done = {}
        if not offsets:
            return True
        try:
            async with asyncio.timeout(COMMIT_WITHIN_S):
                await self._kafka.commit(offsets)
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            log.info("offsets not committed", consumer=self.consumer.name, error=type(error).__name__)
            if self._lanes is lanes:  # else partitions were taken away meanwhile
                self._done = offsets | self._done
            return False
        return True

    # -- taking leave

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Before another instance gets a partition, what is in hand is finished and committed."""
        self._rebalancing = True
        await self._settle()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Comes before any of their records: where to read from has yet to be asked. Lanes are made for records."""
        self._rebalancing = False

    async def leave(self) -> None:
        """Takes no more, finishes what is in hand, commits."""
        self._leaving = True
        await self._settle()
        if self._committing is not None:
            self._committing.cancel()

    async def _settle(self) -> None:
        lanes, self._lanes = list(self._lanes.values()), {}
        for lane in lanes:
            lane.waiting.clear()
            if lane.task and lane.held_by:
                lane.task.cancel()  # what it waits for may be long in coming
        if busy := [lane.task for lane in lanes if lane.task]:
            _, late = await asyncio.wait(busy, timeout=SETTLE_WITHIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*busy, return_exceptions=True)
        await self._commit()
        self._done.clear()
        self._known = False


async def _whole(
    records: tuple[ConsumerRecord, ...], parse: Callable[[tuple[ConsumerRecord, ...]], Awaitable[KafkaMessage]]
) -> KafkaMessage:
    """FastStream's parser, kept from headers: at one that is null or no text it would skip the batch, unhandled."""
    message = await parse((replace(records[0], headers=()),))
    message.raw_message = records
    return message


async def _raw(message: KafkaMessage) -> None:
    """FastStream's decoder, doing nothing: records are decoded here, each alone."""
