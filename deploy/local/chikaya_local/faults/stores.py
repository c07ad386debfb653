"""What is read beside the topics, by batches: tracking's cases, and what the inbox was given."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import httpx
from pymongo import MongoClient

from chikaya_local.kafka import ADMIN
from chikaya_local.stack import Stack

IDS_AT_ONCE = 100
"""More ids in one `$in` cost the local database more for each."""
PAGE = 1000


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
