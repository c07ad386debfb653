"""Intake's stores in memory and on a real server, and a process's parts wired on fakes."""

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from chikaya_contracts.messages.intake import Attachment
from chikaya_contracts.submission import Submission
from chikaya_intake import api, reception
from chikaya_intake.adapters import mongo
from chikaya_intake.adapters.gridfs import GridAttachments
from chikaya_intake.adapters.mongo import MongoChannels, MongoComplaints
from chikaya_intake.channels import Keyring, key_hash
from chikaya_intake.domain.acceptance import Complaint, Filing, Secrets, Sender
from chikaya_intake.domain.attachments import Links
from chikaya_intake.domain.rate import Limiter
from chikaya_intake.files import Files
from chikaya_intake.outbox import Outbox
from chikaya_intake.settings import Settings
from chikaya_intake.stores import APART, NOTHING, Book, Channel, Clash, Waiting
from chikaya_servicekit import http
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.staff import Staff
from chikaya_servicekit.testing import RecordingPublisher
from fastapi import FastAPI
from pymongo import MongoClient

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEY = "k" * 43
OTHER_KEY = "o" * 43


class MemoryComplaints:
    """`stores.Complaints` in memory.

    `away` makes every call fail, as a database that cannot be reached does. `dies` makes the calls of that name fail:
    "before" their effect, "after" it (its acknowledgement is lost), or "halfway".
    """

    def __init__(self) -> None:
        self.kept: dict[str, Complaint] = {}
        self.places: dict[str, tuple[str, int]] = {}
        self.listed: dict[str, Book] = {}
        self.given: dict[int, int] = {}
        self.added: list[int] = []
        self.away = False
        self.dies: dict[str, str] = {}

    async def _reach(self, call: str = "") -> None:
        # As on a real connection, others go on meanwhile.
        await asyncio.sleep(0)
        if self.away or self.dies.get(call) == "before":
            raise DependencyDown("away")

    def _answer(self, call: str) -> None:
        if self.dies.get(call):
            raise DependencyDown("no acknowledgement")

    async def lease(self, year: int, count: int) -> int:
        await self._reach("lease")
        first = self.given.get(year, 0) + 1
        self.given[year] = first + count - 1
        return first

    async def sent_by(self, senders: Collection[Sender]) -> dict[Sender, Complaint]:
        await self._reach("sent_by")
        return {one.sender: one for one in self.kept.values() if one.sender and one.sender in senders}

    async def add(self, complaints: Sequence[Complaint], book: str, page: int) -> dict[str, Clash]:
        await self._reach("add")
        if self.dies.get("add") == "halfway":
            complaints = complaints[: len(complaints) // 2]
        clashes: dict[str, Clash] = {}
        senders = {one.sender for one in self.kept.values() if one.sender}
        references = {one.message.reference for one in self.kept.values()}
        for complaint in complaints:
            if complaint.sender in senders:
                clashes[complaint.id] = "key"
            elif complaint.message.reference in references:
                clashes[complaint.id] = "reference"
            else:
                self.kept[complaint.id] = complaint
                self.places[complaint.id] = (book, page)
        self.added.append(len(complaints))
        self._answer("add")
        return clashes

    async def accompanied(self, attachments: Sequence[str]) -> dict[str, str]:
        return {
            file.id: one.id for one in self.kept.values() for file in one.message.attachments if file.id in attachments
        }

    async def books(self) -> list[Book]:
        await self._reach("books")
        return [self.listed[id_] for id_ in sorted(self.listed)]

    async def live(self, book: Book) -> None:
        await self._reach("live")
        known = self.listed.get(book.id, book)
        self.listed[book.id] = replace(book, relayed=max(book.relayed, known.relayed))
        self._answer("live")

    async def mark(self, book: str, relayed: int) -> None:
        await self._reach("mark")
        self.listed[book] = replace(self.listed[book], relayed=max(relayed, self.listed[book].relayed))
        self._answer("mark")

    async def remove_book(self, id: str) -> None:
        self.listed.pop(id)

    def _between(self, book: str, after: int, until: int) -> list[tuple[int, Complaint]]:
        found = [(page, self.kept[id_]) for id_, (of, page) in self.places.items() if of == book]
        return sorted(((page, one) for page, one in found if after < page <= until), key=lambda found: found[0])

    async def waiting(self, book: str, after: int) -> Waiting:
        await self._reach("waiting")
        found = self._between(book, after, 10**15)
        return Waiting(len(found), found[0][0], found[-1][0]) if found else NOTHING

    async def entries(
        self, book: str, after: int, until: int, at_once: int
    ) -> AsyncIterator[list[tuple[int, Complaint]]]:
        await self._reach("entries")
        found = self._between(book, after, until)
        for start in range(0, len(found), at_once):
            yield found[start : start + at_once]

    async def set_apart(self, book: str, page: int, complaints: Sequence[Complaint]) -> None:
        await self._reach("set_apart")
        for complaint in complaints:
            if self.places[complaint.id] == (book, page):
                self.places[complaint.id] = (APART, page)
        self._answer("set_apart")

    async def forget(self, book: str, until: int) -> None:
        for _, complaint in self._between(book, 0, until):
            del self.kept[complaint.id], self.places[complaint.id]

    def unmarked(self) -> set[str]:
        """Complaints of which no mark says that Kafka has them."""
        return {id_ for id_, (book, page) in self.places.items() if book != APART and page > self.listed[book].relayed}


@dataclass
class File:
    """A file in memory."""

    about: Attachment
    channel: str
    content: bytes
    loose_since: datetime | None
    claimant: str | None = None
    complaint_id: str | None = None


class MemoryAttachments:
    """`stores.Attachments` in memory."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}

    async def save(
        self, id: str, channel: str, filename: str, media_type: str, content: AsyncIterator[bytes], at: datetime
    ) -> Attachment:
        whole = b"".join([piece async for piece in content])
        about = Attachment(id=id, filename=filename, media_type=media_type, size=len(whole), sha256="")
        self.files[id] = File(about, channel, whole, at)
        return about

    async def claim(self, channel: str, ids: Sequence[str], claimant: str, since: datetime) -> list[Attachment]:
        free = [
            file
            for id_ in ids
            if (file := self.files.get(id_))
            and file.channel == channel
            and file.loose_since
            and file.loose_since > since
            and file.claimant in (None, claimant)
        ]
        if len(free) == len(ids):
            for file in free:
                file.claimant = claimant
        return [file.about for file in free]

    async def settle(self, complaint_id: str, ids: Sequence[str]) -> None:
        for id_ in ids:
            self.files[id_].loose_since, self.files[id_].complaint_id = None, complaint_id

    async def find(self, id: str) -> tuple[Attachment, str] | None:
        file = self.files.get(id)
        return (file.about, file.channel) if file else None

    async def read(self, id: str) -> AsyncIterator[bytes]:
        yield self.files[id].content

    async def loose(self, since: datetime) -> list[str]:
        return [id_ for id_, file in self.files.items() if file.loose_since and file.loose_since <= since]

    async def remove(self, id: str) -> None:
        self.files.pop(id, None)

    async def remove_unfinished(self, before: datetime) -> None:
        """Nothing is ever unfinished here."""


class MemoryChannels:
    """`stores.Channels` in memory."""

    def __init__(self) -> None:
        self.channels: dict[str, Channel] = {}

    async def all(self) -> list[Channel]:
        return [self.channels[name] for name in sorted(self.channels)]

    async def add(self, channel: Channel) -> None:
        self.channels[channel.name] = channel

    async def revoke(self, name: str) -> bool:
        return self.channels.pop(name, None) is not None


@dataclass
class Time:
    """A clock that moves when it is told to; by a millisecond at each reading, so that order can be seen."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


@dataclass(kw_only=True)
class World:
    """Stores and a broker in memory, and the processes on them."""

    secrets: Secrets = field(
        default_factory=lambda: Secrets(b"a" * 32, b"v" * 32, Links(b"l" * 32, "http://intake.test"))
    )
    clock: Time = field(default_factory=Time)
    complaints: MemoryComplaints = field(default_factory=MemoryComplaints)
    attachments: MemoryAttachments = field(default_factory=MemoryAttachments)
    publisher: RecordingPublisher = field(default_factory=RecordingPublisher)

    def process(self) -> tuple[Outbox, reception.Reception]:
        """What a process has of its own, as it is when it starts."""
        outbox = Outbox(self.complaints, self.attachments, self.publisher, self.clock)
        return outbox, reception.Reception(outbox, self.complaints, self.attachments, self.secrets, self.clock, 10)


@dataclass(kw_only=True)
class Parts(World):
    """Intake on fakes, with its API."""

    settings: Settings
    channels: MemoryChannels = field(default_factory=MemoryChannels)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.outbox, self.reception = self.process()
        self.files = Files(self.attachments, self.complaints, self.clock)
        self.channels.channels = {
            "portal": Channel("portal", key_hash(KEY), NOON),
            "kiosk": Channel("kiosk", key_hash(OTHER_KEY), NOON),
        }
        self.app = FastAPI()
        http.install(self.app, "intake", (), apart_from=["/v1/attachments"])
        api.install(
            self.app,
            api.Intake(
                reception=self.reception,
                complaints=self.complaints,
                attachments=self.attachments,
                files=self.files,
                keyring=Keyring(self.channels, lambda: self.seconds),
                limiter=Limiter(self.settings.requests_per_minute, lambda: self.seconds),
                staff=Staff(self.settings),
                secrets=self.secrets,
                clock=self.clock,
                link_s=60,
                away=(DependencyDown,),
            ),
        )

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client of the API, as the portal unless the headers say otherwise."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app),
            base_url="http://intake.test",
            headers={"X-API-Key": KEY, **headers},
        )


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Parts]:
    """Makes `Parts`, with settings of one's own."""
    for name in ("ACCESS_CODE_SECRET", "VERIFIER_KEY", "ATTACHMENT_LINK_SECRET"):
        monkeypatch.setenv(f"CHIKAYA_{name}", name.lower() * 3)
    return lambda **settings: Parts(settings=Settings(**settings))


@pytest.fixture
def parts(wire: Callable[..., Parts]) -> Parts:
    """Intake on fakes."""
    return wire()


@pytest.fixture(scope="session")
def a_filing() -> Callable[..., Filing]:
    """Makes filings: of the portal, with no key, received at noon, unless said otherwise."""

    def make(**changes: Any) -> Filing:
        text = changes.pop("text", "L'éclairage de la rue est en panne depuis un mois.")
        body = {"text": text, "contact": {"name": "Nadia", "phone": "0600000090"}, "consent": True}
        submission = Submission.model_validate(body | {"attachments": changes.pop("attachments", ())})
        return replace(Filing("portal", None, submission, NOON), **changes)

    return make


@pytest.fixture(scope="session")
def memory() -> SimpleNamespace:
    """The fakes, for those who make their own."""
    return SimpleNamespace(
        Complaints=MemoryComplaints, Attachments=MemoryAttachments, Channels=MemoryChannels, World=World, Time=Time,
        NOON=NOON, KEY=KEY, OTHER_KEY=OTHER_KEY,
    )  # fmt: skip


_ports = iter(range(23_600 + os.getpid() % 300, 24_000))


def _free_port() -> int:
    for port in _ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no free port between 23600 and 24000")


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Gives ports that nothing listens on."""
    return _free_port


@pytest.fixture(scope="session")
def mongo_uri(database_of: Callable[[str], str]) -> str:
    """The shared database server, as its administrator: tests make databases of their own."""
    return database_of("admin")


_numbers = itertools.count()


@pytest.fixture
def database(mongo_uri: str) -> Iterator[mongo.Database]:
    """An empty database on the real server."""
    made = mongo.connect(mongo_uri, f"intake_{os.getpid()}_{next(_numbers)}")
    yield made
    made.client.close()
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        client.drop_database(made.name)


Stores = tuple[Any, Any, Any]


@pytest.fixture(params=["memory", "mongo"])
async def stores(request: pytest.FixtureRequest) -> Stores:
    """(complaints, attachments, channels), once as fakes and once on the real server."""
    if request.param == "memory":
        return MemoryComplaints(), MemoryAttachments(), MemoryChannels()
    database = request.getfixturevalue("database")
    complaints, attachments = MongoComplaints(database), GridAttachments(database)
    await complaints.create_indexes()
    await attachments.create_indexes()
    return complaints, attachments, MongoChannels(database)


@pytest.fixture(scope="session")
def pieces() -> Callable[..., AsyncIterator[bytes]]:
    """Content that arrives in pieces; raises the last one if it is an exception."""

    async def arriving(*content: bytes | Exception) -> AsyncIterator[bytes]:
        for piece in content:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    return arriving
