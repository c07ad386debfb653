"""Reading dead-letter topics and sending their records back, and measuring lag: the operator's side of Kafka."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from chikaya_contracts.topics import DEAD_LETTERS, SERVICES

from . import dead_letters
from .dead_letters import DeadLetter
from .publishing import KafkaPublisher


@dataclass(frozen=True)
class Lag:
    """How far a consumer group is behind on a topic, in records, over all its partitions."""

    group: str
    topic: str
    records: int


async def letters(client: dict[str, Any], service: str) -> AsyncIterator[DeadLetter]:
    """Every dead letter of a service that is still kept, oldest first."""
    topic = DEAD_LETTERS.named(service).name
    consumer = AIOKafkaConsumer(**client, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in (consumer.partitions_for_topic(topic) or {0})]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, begins[partition])
        left = {partition for partition in partitions if begins[partition] < ends[partition]}
        while left:
            for partition, records in (await consumer.getmany(*left, timeout_ms=500)).items():
                for record in records:
                    if record.offset < ends[partition]:
                        yield dead_letters.read(record.offset, record.key, record.value, record.headers)
            left = {partition for partition in left if await consumer.position(partition) < ends[partition]}
    finally:
        await consumer.stop()


async def replay(publisher: KafkaPublisher, letter: DeadLetter, service: str) -> None:
    """Sends a dead letter to the topic and partition that it came from, with its key; a header marks the replay.

    The partition is named since clients in other languages may spread keys otherwise.

    Raises:
        DependencyDown: Kafka did not acknowledge; the letter stays where it is in any case.
    """
    mark = f"{DEAD_LETTERS.named(service).name}@{letter.offset}".encode()
    headers = [*(pair for pair in letter.headers if pair[0] != "replayed_from"), ("replayed_from", mark)]
    await publisher.send_raw(
        letter.original_topic, letter.key, letter.value, headers, partition=letter.original_partition
    )


async def lags(client: dict[str, Any]) -> list[Lag]:
    """The lag of every consumer group of the four services and desk, on every topic that it has committed on."""
    admin = AIOKafkaAdminClient(**client)
    consumer = AIOKafkaConsumer(**client, enable_auto_commit=False)
    await admin.start()
    try:
        await consumer.start()
        found: dict[tuple[str, str], int] = {}
        groups = [name for name, _ in await admin.list_consumer_groups()]
        for group in sorted(name for name in groups if name.split(".")[0] in SERVICES):
            committed = await admin.list_consumer_group_offsets(group)
            ends = await consumer.end_offsets(list(committed))
            for partition, at in committed.items():
                place = (group, partition.topic)
                found[place] = found.get(place, 0) + max(0, ends[partition] - at.offset)
        return [Lag(group, topic, records) for (group, topic), records in found.items()]
    finally:
        await consumer.stop()
        await admin.close()
