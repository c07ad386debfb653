"""The table of topics (`topics.yaml`) as data: names, keys, owners, readers, partitions, retention, personal data."""

import re
from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

SERVICES = ("intake", "routing", "tracking", "notification", "desk")
DESK = "desk"
DAY_MS = 24 * 3600 * 1000


class Topic(BaseModel):
    """One row: a topic, or a family of topics named by a `{placeholder}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    key: str
    what: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    partitions: int
    retention_days: int | None
    compacted: bool = False
    personal_data: bool
    timestamp: Literal["CreateTime", "LogAppendTime"] = "CreateTime"

    @property
    def placeholder(self) -> str | None:
        """`channel`, `administration`, `service`, or None for a single topic."""
        found = re.search(r"\{(\w+)\}", self.name)
        return found[1] if found else None

    @lru_cache(maxsize=10_000)  # noqa: B019 (rows of the table live as long as the process)
    def named(self, value: str) -> "Topic":
        """The member of this family whose placeholder is `value`."""

        def fill(text: str) -> str:
            return text.replace(f"{{{self.placeholder}}}", value)

        return self.model_copy(
            update={
                "name": fill(self.name),
                "writers": tuple(map(fill, self.writers)),
                "readers": tuple(map(fill, self.readers)),
            }
        )

    @property
    def owner(self) -> str:
        """Who answers for what is written here: the first of its writers."""
        return self.writers[0]

    @property
    def pattern(self) -> str:
        """A regular expression that matches every member of this family and captures its placeholder."""
        return "^" + re.sub(r"\\\{\w+\\\}", r"([a-z0-9-]+)", re.escape(self.name)) + "$"

    @property
    def kafka_config(self) -> dict[str, str]:
        """Settings of the topic on the broker."""
        retention = -1 if self.retention_days is None else self.retention_days * DAY_MS
        return {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(retention),
            "retention.bytes": "-1",
            "segment.ms": str(DAY_MS),
            "message.timestamp.type": self.timestamp,
        }


@cache
def table() -> tuple[Topic, ...]:
    """All rows, in the order in which data flows."""
    text = files(__package__).joinpath("topics.yaml").read_text("utf-8")
    return tuple(Topic.model_validate(row) for row in yaml.safe_load(text))


def topic(name: str) -> Topic:
    """The row of that name (a family's name with its placeholder).

    Raises:
        KeyError: no such topic.
    """
    for row in table():
        if row.name == name:
            return row
    raise KeyError(f"no topic {name} in topics.yaml")


def expand(administrations: list[str], channels: list[str]) -> list[Topic]:
    """Every topic to be provisioned, given who has a pair of their own."""
    members = {"administration": [DESK, *administrations], "channel": channels, "service": list(SERVICES)}
    return [
        single
        for row in table()
        for single in ([row.named(value) for value in members[row.placeholder]] if row.placeholder else [row])
    ]


CHANNEL_SUBMISSIONS = topic("channel.{channel}.submissions.v1")
CHANNEL_RECEIPTS = topic("channel.{channel}.receipts.v1")
SUBMITTED = topic("complaints.submitted.v1")
ROUTED = topic("complaints.routed.v1")
REQUESTS = topic("complaints.requests.v1")
SUPPLEMENTS = topic("complaints.supplements.v1")
LIFECYCLE = topic("complaints.lifecycle.v1")
INBOX = topic("administration.{administration}.inbox.v1")
OUTBOX = topic("administration.{administration}.outbox.v1")
OUTCOMES = topic("notification.outcomes.v1")
CATALOGUE = topic("catalogue.administrations.v1")
DEAD_LETTERS = topic("{service}.dead-letters.v1")
