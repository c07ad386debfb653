"""The witness: reads topics from their beginning, for as long as the run lasts, and remembers what was said."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from struct import unpack_from
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from chikaya_contracts import topics
from chikaya_contracts.messages.administration import DossierFollowUp
from chikaya_contracts.messages.channel import SubmissionAccepted
from chikaya_contracts.messages.routing import (
    ComplaintInadmissible,
    ComplaintRouted,
    ComplaintTriaged,
    DossierForwarded,
)
from chikaya_contracts.topics import SERVICES, Topic

from chikaya_local.faults.journeys import Decided, Happened, Told, Trail
from chikaya_local.kafka import OFFSETS_PARTITIONS

log = structlog.get_logger()

OUTCOMES = {
    ComplaintRouted.TYPE: "routed",
    ComplaintTriaged.TYPE: "triaged",
    ComplaintInadmissible.TYPE: "inadmissible",
}
OFFSETS = "__consumer_offsets"
POLL_MS, FETCH_BYTES = 200, 64 * 1024
"""The broker answers when so many bytes are there or so much time has passed: few fetches, of many records."""


class Commit(NamedTuple):
    """What a consumer group has read of a partition: all before `offset`."""

    group: str
    partition: TopicPartition
    offset: int


def read_commit(key: bytes, value: bytes | None) -> Commit | None:
    """A record of Kafka's own topic of offsets, understood; None for one that is no commit.

    Source: Kafka's schemas OffsetCommitKey (versions 0 and 1) and OffsetCommitValue, which begins with the offset.
    """
    if value is None or unpack_from(">h", key)[0] > 1:
        return None
    group, at = _text(key, 2)
    topic, at = _text(key, at)
    return Commit(group, TopicPartition(topic, unpack_from(">i", key, at)[0]), unpack_from(">q", value, 2)[0])


def _text(key: bytes, at: int) -> tuple[str, int]:
    """A text in Kafka's form, and where it ends."""
    end = at + 2 + int(unpack_from(">h", key, at)[0])
    return key[at + 2 : end].decode(), end


class Place(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


class Witness:
    """What the topics have said. Broker faults do not make it forget its place.

    Args:
        client: arguments of an aiokafka client that may read everything.
        read: the topics to read, as provisioned.
        changed: told the complaint's id, or at the kiosk the sender's id, after each record about it.
    """

    def __init__(self, client: dict[str, Any], read: Sequence[Topic], changed: Callable[[str], None]) -> None:
        self._client, self._changed = client, changed
        self._partitions = [TopicPartition(topic.name, number) for topic in read for number in range(topic.partitions)]
        self._partitions += [TopicPartition(OFFSETS, number) for number in range(OFFSETS_PARTITIONS)]
        self._committed: dict[tuple[str, TopicPartition], int] = {}
        self._places: dict[TopicPartition, int] = dict.fromkeys(self._partitions, 0)
        self.trails: defaultdict[str, Trail] = defaultdict(Trail)
        self.receipts: defaultdict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        """The kiosk's: sender's id → event id → (complaint's id, reference)."""
        self.receipt_copies: Counter[str] = Counter()
        self.dead_letters: Counter[Place] = Counter()
        """Original place → how often it lies on a dead-letter topic."""

    async def run(self) -> None:
        """Reads until cancelled; a reader that fails is replaced by one that goes on from the same place."""
        while True:
            consumer = AIOKafkaConsumer(
                **self._client,
                group_id=None,
                enable_auto_commit=False,
                fetch_max_wait_ms=POLL_MS,
                fetch_min_bytes=FETCH_BYTES,
                max_partition_fetch_bytes=256 * 1024,
            )
            try:
                await consumer.start()
                consumer.assign(self._partitions)
                for partition, offset in self._places.items():
                    consumer.seek(partition, offset)
                while True:
                    await self._read(consumer)
            except KafkaError as error:
                log.warning("witness begins anew", error=type(error).__name__)
                await asyncio.sleep(0.5)
            finally:
                await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        for partition, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
            for record in records:
                self.note(record)
            self.read_to(partition, records[-1].offset + 1)

    def read_to(self, partition: TopicPartition, offset: int) -> None:
        """Keeps the place: all records before `offset` have been noted."""
        self._places[partition] = offset

    @property
    def lag(self) -> int:
        """Records that the witness has read and the services have not committed, over all their consumer groups."""
        committed = self._committed.items()
        return sum(max(0, self._places.get(partition, 0) - offset) for (_, partition), offset in committed)

    def note(self, record: ConsumerRecord) -> None:
        """Takes one record in; what is no valid message is passed over."""
        if record.topic == OFFSETS:
            commit = read_commit(record.key, record.value)
            if commit and commit.group.split(".")[0] in SERVICES:
                self._committed[commit.group, commit.partition] = commit.offset
            return
        headers = dict(record.headers)
        if record.topic.endswith(".dead-letters.v1"):
            original = (headers["dl_topic"], headers["dl_partition"], headers["dl_offset"])
            topic, partition, offset = ((value or b"").decode() for value in original)
            self.dead_letters[Place(topic, int(partition), int(offset))] += 1
            return
        if not record.key or not headers.get("ce_id"):
            return
        key, event_id, type_ = record.key.decode(), headers["ce_id"].decode(), headers["ce_type"].decode()
        if record.topic.startswith("channel."):
            self._channel(record, key, event_id, type_)
        else:
            self._complaint(record, self.trails[key], event_id, type_)
        self._changed(key)

    def _channel(self, record: ConsumerRecord, sender_id: str, event_id: str, type_: str) -> None:
        if not record.topic.endswith(".receipts.v1"):
            return
        if event_id in self.receipts[sender_id]:
            self.receipt_copies[sender_id] += 1
            return
        found = json.loads(record.value) if type_ == SubmissionAccepted.TYPE else {}
        self.receipts[sender_id][event_id] = (found.get("complaint_id", ""), found.get("reference", ""))

    def _complaint(self, record: ConsumerRecord, trail: Trail, event_id: str, type_: str) -> None:
        if event_id in trail.seen:
            trail.copies += 1
            return
        trail.seen.add(event_id)
        if record.topic == topics.SUBMITTED.name:
            trail.submitted.add(event_id)
        elif record.topic == topics.ROUTED.name and type_ in OUTCOMES:
            data = json.loads(record.value)
            trail.decisions[event_id] = Decided(data["decision"], OUTCOMES[type_], data.get("administration"))
        elif record.topic == topics.LIFECYCLE.name:
            data = json.loads(record.value)
            name = type_.removeprefix("ma.chikaya.case.").removesuffix(".v1")
            trail.history.append(Happened(data["sequence"], name, data["state"], event_id))
        elif record.topic == topics.OUTCOMES.name:
            data = json.loads(record.value)
            result = type_.removeprefix("ma.chikaya.notice.").removesuffix(".v1")
            trail.outcomes[event_id] = Told(data["event"], data["by"], result)
        elif type_ == DossierForwarded.TYPE:
            trail.dossiers[event_id] = record.topic.split(".")[1]
        elif type_ == DossierFollowUp.TYPE and json.loads(record.value)["kind"] == "question-answered":
            trail.replies_forwarded += 1
