"""What is read beside the topics, by batches: consumer lag, tracking's cases, what the inbox was given."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from chikaya_contracts.topics import SERVICES
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from pymongo import MongoClient

from chikaya_local.kafka import ADMIN
from chikaya_local.stack import Stack

ANSWER_WITHIN_S = 3.0
IDS_AT_ONCE = 100
"""More ids in one `$in` cost the local database more for each."""


class Lag:
    """How far the services are behind, over all their groups. One client for the whole run; it finds the broker again
    by itself. Not for several threads at once."""

    def __init__(self, stack: Stack) -> None:
        settings = stack.kafka.client_settings(ADMIN, stack.secrets.kafka_admin)
        self._admin = AdminClient({**settings, "log_level": 0})

    def read(self) -> int | None:
        """Records written and not yet committed by who reads them; None while the broker does not answer."""
        try:
            return self._read()
        except KafkaException:
            return None

    def _read(self) -> int:
        listed = self._admin.list_consumer_groups(request_timeout=ANSWER_WITHIN_S).result()
        groups = [group.group_id for group in listed.valid if group.group_id.split(".")[0] in SERVICES]
        asked = [
            self._admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group)], request_timeout=ANSWER_WITHIN_S
            )[group]
            for group in groups
        ]
        committed = [place for answer in asked for place in answer.result().topic_partitions]
        latest = {TopicPartition(place.topic, place.partition): OffsetSpec.latest() for place in committed}
        ends = self._admin.list_offsets(latest, request_timeout=ANSWER_WITHIN_S)
        end_of = {(place.topic, place.partition): end.result().offset for place, end in ends.items()}
        return sum(max(0, end_of[place.topic, place.partition] - place.offset) for place in committed)


class Stores:
    """Tracking's cases, read as the database's administrator, and the inbox's file."""

    def __init__(self, stack: Stack) -> None:
        self._mongo: MongoClient[dict[str, Any]] = MongoClient(stack.mongo.uri(ADMIN))
        self._inbox = stack.directory / "inbox" / "inbox.sqlite3"
        self._read_to = 0
        self.letters: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Recipient → message id → copies."""

    def close(self) -> None:
        """Ends the connection."""
        self._mongo.close()

    def tracked(self, complaint_ids: Sequence[str]) -> dict[str, str]:
        """Complaint's id → reference of each that tracking keeps."""
        cases = self._mongo["tracking"]["cases"]
        return {
            case["_id"]: case.get("reference", "")
            for start in range(0, len(complaint_ids), IDS_AT_ONCE)
            for case in cases.find({"_id": {"$in": complaint_ids[start : start + IDS_AT_ONCE]}}, {"reference": 1})
        }

    def read_inbox(self) -> None:
        """Takes in what has come since the last time; the inbox keeps the latest 50,000 messages."""
        inbox = sqlite3.connect(f"file:{self._inbox}?mode=ro", uri=True)
        try:
            query = "SELECT key, id, recipient FROM messages WHERE key > ? ORDER BY key"
            for key, message_id, recipient in inbox.execute(query, (self._read_to,)):
                self.letters[recipient][message_id] += 1
                self._read_to = key
        finally:
            inbox.close()
