"""What is read beside the topics, by batches: consumer lag, tracking's cases, what the inbox was given."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from chikaya_contracts.topics import SERVICES
from pymongo import MongoClient

from chikaya_local.kafka import ADMIN
from chikaya_local.stack import Stack

ANSWER_WITHIN_S = 3.0
IDS_AT_ONCE = 100
"""More ids in one `$in` cost the local database more for each."""
PAGE = 1000


class Lag:
    """How far the services are behind, over all their groups.

    Args:
        client: arguments of an aiokafka client that may read everything.
    """

    def __init__(self, client: dict[str, Any]) -> None:
        self._client = client
        self._asking: tuple[AIOKafkaAdminClient, AIOKafkaConsumer] | None = None
        self._groups: list[str] = []

    async def read(self) -> int | None:
        """Records written and not yet committed by who reads them; None while the brokers do not answer."""
        try:
            return await asyncio.wait_for(self._read(), ANSWER_WITHIN_S)
        except (KafkaError, OSError, TimeoutError):
            await self.close()
            return None

    async def close(self) -> None:
        """Ends the connections; the next reading makes new ones."""
        asking, self._asking = self._asking, None
        if asking:
            admin, consumer = asking
            with suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(asyncio.gather(admin.close(), consumer.stop()), ANSWER_WITHIN_S)

    async def _read(self) -> int:
        if self._asking is None:
            self._asking = AIOKafkaAdminClient(**self._client), AIOKafkaConsumer(**self._client, group_id=None)
            for one in self._asking:
                await one.start()
        admin, consumer = self._asking
        if not self._groups:
            listed = await admin.list_consumer_groups()
            self._groups = [group for group, _ in listed if group.split(".")[0] in SERVICES]
        committed = await asyncio.gather(*map(admin.list_consumer_group_offsets, self._groups))
        ends = await consumer.end_offsets({partition for group in committed for partition in group})
        return sum(max(0, ends[partition] - at.offset) for group in committed for partition, at in group.items())


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
