"""Publishing: every message acknowledged by all replicas before the caller goes on, in order for each key."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from chikaya_contracts.envelope import Event, Headers, Message, encode

from .faults import DependencyDown, TooLarge
from .telemetry import PUBLISHED

REQUEST_TIMEOUT_MS = 10_000
AT_ONCE = 2_000  # records in flight: more would outlive the request timeout on a slow broker


Raw = tuple[str, bytes | None, bytes | None, Headers]
"""(topic, key, value, headers) of a record."""


class Publisher(Protocol):
    """What handlers need of a broker."""

    async def publish(self, events: Sequence[Event[Message]]) -> None:
        """Sends events in order and returns when Kafka has acknowledged them all.

        Raises:
            DependencyDown: some may not have arrived; sending all of them again is right.
            TooLarge: one can never arrive; others may have.
        """


class KafkaPublisher:
    """The publisher on a real broker. A failed send leaves the idempotent producer's numbering in doubt, so the
    next publication begins with a new producer."""

    def __init__(self, service: str, client: dict[str, Any]) -> None:
        self._service, self._client = service, client
        self._producer: AIOKafkaProducer | None = None
        self._one_sender = asyncio.Lock()

    async def ping(self) -> None:
        """Raises KafkaError while the broker does not answer."""
        async with self._one_sender:
            producer = await self._started()
        await asyncio.wait_for(producer.client.fetch_all_metadata(), REQUEST_TIMEOUT_MS / 1000)

    async def missing(self, names: set[str]) -> set[str]:
        """Those of the topics that the broker does not show to this principal."""
        async with self._one_sender:
            producer = await self._started()
        cluster = await producer.client.fetch_all_metadata()
        return names - cluster.topics(exclude_internal_topics=False)

    async def send_raw(self, records: Sequence[Raw], partition: int | None = None) -> list[int]:
        """Sends records as they are (dead letters, replays), each to its key's partition unless told to which; gives
        their offsets.

        Raises:
            DependencyDown, TooLarge: see `Publisher.publish`.
        """
        return [
            offset
            for start in range(0, len(records), AT_ONCE)
            for offset in await self._deliver(records[start : start + AT_ONCE], partition)
        ]

    async def publish(self, events: Sequence[Event[Message]]) -> None:
        for start in range(0, len(events), AT_ONCE):
            await self._deliver([encode(event) for event in events[start : start + AT_ONCE]])
        for topic, count in Counter(event.topic for event in events).items():
            PUBLISHED.labels(self._service, topic).inc(count)

    async def _deliver(self, records: Sequence[Raw], partition: int | None = None) -> list[int]:
        producer = None
        try:
            async with self._one_sender:
                producer = await self._started()
                sent = [
                    await producer.send(topic, value, key=key, headers=headers, partition=partition)
                    for topic, key, value, headers in records
                ]
            offsets: list[int] = []
            for result in await asyncio.gather(*sent, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
                offsets.append(result.offset)
            return offsets
        except MessageSizeTooLargeError as error:
            await self._discard(producer)
            raise TooLarge("a message is larger than Kafka takes") from error
        except (KafkaError, OSError) as error:
            await self._discard(producer)
            raise DependencyDown(f"Kafka did not acknowledge: {type(error).__name__}") from error

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                **self._client,
                client_id=self._service,
                acks="all",
                enable_idempotence=True,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                metadata_max_age_ms=10_000,
                max_batch_size=256 * 1024,
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _discard(self, producer: AIOKafkaProducer | None) -> None:
        if producer is not None and self._producer is producer:
            self._producer = None
            # Flushing to a broker that is away would hold the caller: the old producer ends in the background.
            self._ending = asyncio.create_task(_stop(producer))

    async def stop(self) -> None:
        """Flushes and leaves."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await _stop(producer)


async def _stop(producer: AIOKafkaProducer) -> None:
    try:
        await asyncio.wait_for(producer.stop(), REQUEST_TIMEOUT_MS / 1000)
    except (KafkaError, TimeoutError):
        return
