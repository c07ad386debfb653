"""What intake needs of its database. `adapters/` has it on Mongo; the tests run one suite on that and on a fake."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from chikaya_contracts.messages.intake import Attachment

from .domain.acceptance import Complaint, Sender

Clash = Literal["key", "reference"]
"""Why a complaint is not kept: another has its sender's key, or its reference."""

APART = "relayed"
"""The book of what was relayed from the last page of a book whose end is in doubt."""


@dataclass(frozen=True, slots=True)
class Book:
    """What one run of a process has accepted (see `outbox`). Kafka has all pages up to `relayed`; at `seen` its process
    was last known to live. Ids sort by time."""

    id: str
    relayed: int
    seen: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many complaints wait for Kafka, and the pages of the first and the last of them, numbered by when they were
    written: milliseconds since the epoch."""

    count: int
    oldest: int
    newest: int


NOTHING = Waiting(0, 0, 0)


class Complaints(Protocol):
    """Accepted complaints. This is the outbox too: each lies on a page of a book, with its whole message."""

    async def lease(self, year: int, count: int) -> int:
        """The first of `count` reference numbers of `year` that nobody else has or will be given."""

    async def sent_by(self, senders: Collection[Sender]) -> dict[Sender, Complaint]:
        """What these senders' filings have led to."""

    async def add(self, complaints: Sequence[Complaint], book: str, page: int) -> dict[str, Clash]:
        """Keeps complaints; gives those (by id) that certainly are not kept. Any exception leaves it open which are."""

    async def accompanied(self, attachments: Sequence[str]) -> dict[str, str]:
        """Which of these attachments accompany a complaint, and which complaint (its id)."""

    async def books(self) -> list[Book]:
        """Every book, the oldest first."""

    async def live(self, book: Book) -> None:
        """The process that writes in this book lives. A mark is never taken back."""

    async def mark(self, book: str, relayed: int) -> None:
        """Kafka has all pages of the book up to this one. A mark is never taken back."""

    async def remove_book(self, id: str) -> None:
        """Removes a book that has nothing in it."""

    async def waiting(self, book: str, after: int) -> Waiting:
        """What lies on the pages after this one."""

    def entries(self, book: str, after: int, until: int, at_once: int) -> AsyncIterator[list[tuple[int, Complaint]]]:
        """Complaints with their pages, from after one up to another, in order of the pages, in lists of at most
        `at_once`."""

    async def set_apart(self, book: str, page: int, complaints: Sequence[Complaint]) -> None:
        """Moves those of the complaints that lie on this page to the same page of `APART`."""

    async def forget(self, book: str, until: int) -> None:
        """Removes what lies on the pages up to this one."""


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
