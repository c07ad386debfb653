"""What is read beside the topics, by batches: consumer lag, tracking's cases, what the inbox was given."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import httpx
from chikaya_contracts.topics import SERVICES
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from pymongo import MongoClient

from chikaya_local.kafka import ADMIN
from chikaya_local.stack import Stack

ANSWER_WITHIN_S, GIVEN_UP_AFTER_S = 3.0, 5.0
IDS_AT_ONCE = 100
"""More ids in one `$in` cost the local database more for each."""
PAGE = 1000


class Lag:
    """How far the services are behind, over all their groups. One client for the whole run; it finds the brokers again
    by itself. Not for several threads at once."""

    def __init__(self, stack: Stack) -> None:
        settings = stack.kafka.client_settings(ADMIN, stack.secrets.kafka_admin)
        self._admin = AdminClient({**settings, "log_level": 0, "topic.metadata.refresh.interval.ms": 5_000})
        self._groups: list[str] = []

    def read(self) -> int | None:
        """Records written and not yet committed by who reads them; None while the brokers do not answer."""
        try:
            # A client that is asked for no offset at all ends the whole process.
            committed = self._committed()
            return self._behind(committed) if committed else None
        except (KafkaException, TimeoutError):
            return None

    def _committed(self) -> list[TopicPartition]:
        if not self._groups:
            listed = self._admin.list_consumer_groups(request_timeout=ANSWER_WITHIN_S).result(GIVEN_UP_AFTER_S)
            if listed.errors:
                return []
            self._groups = [group.group_id for group in listed.valid if group.group_id.split(".")[0] in SERVICES]
        asked = [
            self._admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group)], request_timeout=ANSWER_WITHIN_S
            )[group]
            for group in self._groups
        ]
        return [place for answer in asked for place in answer.result(GIVEN_UP_AFTER_S).topic_partitions]

    def _behind(self, committed: list[TopicPartition]) -> int:
        latest = {TopicPartition(place.topic, place.partition): OffsetSpec.latest() for place in committed}
        ends = self._admin.list_offsets(latest, request_timeout=ANSWER_WITHIN_S)
        end_of = {(place.topic, place.partition): end.result(GIVEN_UP_AFTER_S).offset for place, end in ends.items()}
        return sum(max(0, end_of[place.topic, place.partition] - place.offset) for place in committed)


class Stores:
    """Tracking's cases, read as the database's administrator, and the inbox."""

    def __init__(self, stack: Stack) -> None:
        self._mongo: MongoClient[dict[str, Any]] = MongoClient(stack.mongo.uri(ADMIN))
        self._inbox = httpx.Client(base_url=stack.url("inbox"), timeout=20)
        self._read_to = 0
        self.letters: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Recipient → message id → copies."""

    def close(self) -> None:
        """Ends the connections."""
        self._mongo.close()
        self._inbox.close()

    def tracked(self, references: Sequence[str]) -> dict[str, str]:
        """Reference → complaint's id of each that tracking keeps."""
        kept = self._mongo["tracking"]["references"]
        return {
            row["_id"]: row["complaint"]
            for start in range(0, len(references), IDS_AT_ONCE)
            for row in kept.find({"_id": {"$in": references[start : start + IDS_AT_ONCE]}})
        }

    def read_inbox(self) -> None:
        """Takes in what has come since the last time; the inbox keeps the latest 50,000 messages.

        Raises:
            httpx.HTTPError: the inbox is away.
        """
        while True:
            asked: dict[str, Any] = {"after": self._read_to, "limit": PAGE, "content": False}
            answer = self._inbox.get("/api/messages", params=asked)
            messages = answer.raise_for_status().json()["messages"]
            for message in messages:
                self.letters[message["recipient"]][message["id"]] += 1
                self._read_to = message["key"]
            if len(messages) < PAGE:
                return
