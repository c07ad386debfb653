"""What intake needs of its database. `adapters/` has it on Mongo; the tests run one suite on that and on a fake."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chikaya_contracts.messages.intake import Attachment

from .domain.acceptance import Complaint, Sender


class Complaints(Protocol):
    """Accepted complaints. This is the outbox too: each waits, with its whole message, until Kafka has it."""

    async def lease(self, year: int, count: int) -> int:
        """The first of `count` reference numbers of `year` that nobody else has or will be given."""

    async def sent_by(self, senders: Collection[Sender]) -> dict[Sender, Complaint]:
        """What these senders' filings have led to."""

    async def add(self, complaints: Sequence[Complaint]) -> set[str]:
        """Keeps complaints, waiting for Kafka; gives the ids of those not kept, since their sender has one already.
        Nothing is written for an empty list."""

    async def accompanied(self, attachments: Sequence[str]) -> dict[str, str]:
        """Which of these attachments accompany a complaint, and which complaint (its id)."""

    def waiting(self, accepted_until: datetime, at_once: int) -> AsyncIterator[list[Complaint]]:
        """Those that wait and were accepted by then, oldest first, in lists of at most `at_once`."""

    async def count_waiting(self, accepted_until: datetime) -> int:
        """How many wait for Kafka and were accepted by then."""

    async def relayed(self, ids: Sequence[str], forget_at: datetime) -> None:
        """Kafka has these: they wait no longer, and are removed after `forget_at`."""


class Attachments(Protocol):
    """Uploaded files. One is loose until the complaint that claims it has been relayed; loose ones expire."""

    async def save(
        self, id: str, channel: str, filename: str, media_type: str, content: AsyncIterator[bytes], at: datetime
    ) -> Attachment:
        """Keeps a file as its content arrives. When `content` raises, nothing is kept."""

    async def claim(self, channel: str, ids: Sequence[str], claimant: str, since: datetime) -> list[Attachment]:
        """Those of the files that are this channel's, uploaded after `since`, and free or the claimant's already. If
        that is all of them, they are the claimant's now; else none is claimed."""

    async def settle(self, complaint_id: str, ids: Sequence[str]) -> None:
        """The complaint that claimed these is there to stay, and so are they."""

    async def find(self, id: str) -> tuple[Attachment, str] | None:
        """A file and the channel that it came by."""

    def read(self, id: str) -> AsyncIterator[bytes]:
        """Its content."""

    async def loose(self, since: datetime) -> list[str]:
        """Files that have been loose since then or longer."""

    async def remove(self, id: str) -> None:
        """Removes a file; a crash in the middle leaves nothing that `remove_unfinished` does not find."""

    async def remove_unfinished(self, before: datetime) -> None:
        """Removes what is left of uploads that began before then and were cut off by a crash."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that may call intake over HTTP. Its key is known by its SHA-256 alone."""

    name: str
    key_hash: bytes
    since: datetime


class Channels(Protocol):
    """The channels and their keys."""

    async def all(self) -> list[Channel]:
        """Every channel that has a key."""

    async def add(self, channel: Channel) -> None:
        """Gives a channel its key; the former one, if any, is void."""

    async def revoke(self, name: str) -> bool:
        """Voids a channel's key; false if it had none."""
