"""A process's own view of its service's dead letters: which keys have one open, so that later records park behind it.

Read from the dead-letter topic itself, from its beginning and on: what another instance sets aside, and what an
operator replays or discards, is known here a moment later; before a partition is worked, all that lies there is.
"""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from chikaya_contracts.envelope import Headers
from chikaya_contracts.topics import DEAD_LETTERS

from .dead_letters import DeadLetter, Ledger, replayed_from
from .faults import DependencyDown
from .telemetry import OPEN_LETTERS

WITHIN_S = 10.0
FETCH_WAIT_MS = 100  # where the topic ends is asked on the same connection, behind a waiting fetch


class Letters:
    """The dead letters of one service."""

    def __init__(self, service: str, client: dict[str, Any]) -> None:
        self._service, self._client = service, client
        self._topic = DEAD_LETTERS.named(service).name
        self._ledger = Ledger()
        self._consumer: Any = None
        self._read_to = 0
        self._more = asyncio.Condition()

    async def run(self) -> None:
        """Reads for as long as the process lives.

        Raises:
            KafkaError: to be begun again; what was read once is read again with no harm.
        """
        partition = TopicPartition(self._topic, 0)
        consumer = AIOKafkaConsumer(
            **self._client, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=FETCH_WAIT_MS
        )
        try:
            await consumer.start()
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            async with self._more:
                self._consumer = consumer
                self._more.notify_all()
            while True:
                for records in (await consumer.getmany(timeout_ms=1_000)).values():
                    for record in records:
                        self.learn(record.offset, record.key, record.headers)
                async with self._more:
                    self._read_to = await consumer.position(partition)
                    self._more.notify_all()
        finally:
            self._consumer = None
            await consumer.stop()

    async def caught_up(self) -> None:
        """Returns when all that lies in the topic now is known.

        Raises:
            DependencyDown: it cannot be read at the moment.
            KafkaError: the same.
        """
        partition, end = TopicPartition(self._topic, 0), None
        try:
            async with asyncio.timeout(WITHIN_S), self._more:
                consumer = await self._more.wait_for(lambda: self._consumer)
                end = (await consumer.end_offsets([partition]))[partition]
                await self._more.wait_for(lambda: self._read_to >= end)
        except TimeoutError:
            raise DependencyDown(f"{self._topic} is read to {self._read_to} of {end or '?'}") from None

    def learn(self, offset: int, key: bytes | None, headers: Headers) -> None:
        """Takes in one record of the topic; one that is known already changes nothing."""
        self._ledger.apply(offset, key, headers)
        OPEN_LETTERS.labels(self._service).set(self._ledger.open_count)

    def passed_over(self, consumer: str, record: ConsumerRecord) -> bool:
        """Whether this record is not to be handled: it has been set aside already, or is the replay of a letter that
        was discarded meanwhile."""
        if self._ledger.holds(consumer, record.topic, record.partition, record.offset):
            return True
        replayed = self.replayed(consumer, record)
        return replayed is not None and self._ledger.discarded(replayed.offset)

    def replayed(self, consumer: str, record: ConsumerRecord) -> DeadLetter | None:
        """The letter that this record is the replay of. Who writes to a topic may claim anything in a header: it
        counts only if there is such a letter of this consumer, topic, partition and key."""
        claimed = replayed_from(record.headers)
        letter = self._ledger.letter(claimed[1]) if claimed and claimed[0] == self._topic else None
        came_from = letter and (letter.consumer, letter.original_topic, letter.original_partition, letter.key)
        return letter if came_from == (consumer, record.topic, record.partition, record.key) else None

    def blocking(self, consumer: str, record: ConsumerRecord) -> int | None:
        """The offset of the open letter that this record has to wait behind."""
        if replayed := self.replayed(consumer, record):
            self._ledger.returned(replayed.offset)
        position = replayed.position if replayed else None
        return self._ledger.blocking(consumer, record.topic, record.key, position, record.offset)
