"""Lifecycle events, contacts and notices for notification's tests; its stores in memory and on a real server."""

import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence, Sized
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from chikaya_contracts import reference
from chikaya_contracts.envelope import Event
from chikaya_contracts.messages import ALL
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import CaseEvent
from chikaya_notification.adapters.mongo import MongoNotification
from chikaya_notification.domain.notices import Contact, Notice
from chikaya_notification.domain.wording import Name
from chikaya_notification.outcomes import Outcomes
from chikaya_notification.stores import Administrations, Notices
from chikaya_servicekit.testing import RecordingPublisher
from pymongo import MongoClient

AT = datetime(2026, 3, 2, 9, 12, 30, tzinfo=UTC)
CONTENT: dict[str, dict[str, Any]] = {
    "received": {
        "channel": "portal",
        "nature": "complaint",
        "language": "fr",
        "relay_due": AT + timedelta(days=15),
        "answer_due": AT + timedelta(days=60),
    },
    "triaged": {"decision": 1, "reason": "unsure"},
    "routed": {"decision": 1, "administration": "cnss"},
    "rejected": {"decision": 1, "reason": "court"},
    "question-asked": {"asked_by": "administration", "text_id": "t1", "administration": "cnss"},
    "question-answered": {"text_id": "t2", "answer_due": AT + timedelta(days=70), "administration": "cnss"},
    "supplemented": {"text_id": "t3"},
    "answered": {"text_id": "t4", "administration": "cnss"},
    "transfer-requested": {"text_id": "t5", "administration": "cnss"},
    "rated": {"score": 4, "administration": "cnss"},
    "reopened": {"text_id": "t6", "answer_due": AT + timedelta(days=120), "administration": "cnss"},
    "deadline-warned": {"threshold": "answer-warned", "due": AT},
    "deadline-breached": {"threshold": "answer-breached", "due": AT},
    "request-refused": {"request": "ma.chikaya.request.rate.v1", "by": "citizen", "reason": "state"},
}
STATE = {
    "received": "received",
    "triaged": "triage",
    "routed": "routed",
    "rejected": "rejected",
    "question-asked": "waiting_for_citizen",
    "question-answered": "in_progress",
    "answered": "answered",
    "transfer-requested": "transfer_requested",
    "reopened": "reopened",
    "withdrawn": "withdrawn",
    "rated": "closed",
    "closed": "closed",
}
Happened = Callable[..., Event[CaseEvent]]


def happened(name: str, sequence: int = 1, complaint_id: str = "c1", **more: Any) -> Event[CaseEvent]:
    """A lifecycle event by its short name."""
    model = ALL[f"ma.chikaya.case.{name}.v1"]
    at = AT + timedelta(minutes=sequence)
    data = model.model_validate(
        {
            "complaint_id": complaint_id,
            "reference": reference.make(2026, 123),
            "sequence": sequence,
            "at": at,
            "state": STATE.get(name, "in_progress"),
            "cause": f"cause-{sequence}",
            "nature": "complaint",
            "relay_due": AT + timedelta(days=15),
            "answer_due": AT + timedelta(days=60),
            "relays": int(name == "routed"),
            **CONTENT.get(name, {}),
            **more,
        }
    )
    return Event(f"{complaint_id}-{sequence}", "/tracking", at, data, model.TOPIC.name)


@pytest.fixture(name="happened", scope="session")
def _happened() -> Happened:
    return happened


class MemoryNotices:
    """`stores.Notices` in memory. `away` is what every call raises, as when the database cannot be reached.
    `asked` counts the calls that are about anything."""

    def __init__(self) -> None:
        self.addresses: dict[str, Contact] = {}
        self.notices: dict[str, Notice] = {}
        self.unsaid: set[str] = set()
        self.away: Exception | None = None
        self.asked: Counter[str] = Counter()

    def _reach(self, call: str, about: Sized) -> None:
        self.asked[call] += bool(about)
        if self.away:
            raise self.away

    async def keep_contacts(self, contacts: Mapping[str, Contact]) -> None:
        self._reach("keep_contacts", contacts)
        self.addresses = {**contacts, **self.addresses}

    async def contacts(self, complaint_ids: Collection[str]) -> dict[str, Contact]:
        self._reach("contacts", complaint_ids)
        return {id: self.addresses[id] for id in complaint_ids if id in self.addresses}

    async def add(self, notices: Sequence[Notice]) -> set[str]:
        self._reach("add", notices)
        new = {notice.id: notice for notice in notices if notice.id not in self.notices}
        self.notices |= new
        return set(new)

    async def waiting(self, complaint_ids: Collection[str]) -> list[Notice]:
        self._reach("waiting", complaint_ids)
        return [one for one in self.notices.values() if one.complaint_id in complaint_ids and one.state == "waiting"]

    async def address(self, notices: Sequence[Notice]) -> None:
        self._reach("address", notices)
        for notice in notices:
            if self.notices[notice.id].state == "waiting":
                self.notices[notice.id] = notice

    async def due(self, by: str, now: datetime, at_most: int) -> list[str]:
        self._reach("due", by)
        due = [one for one in self.notices.values() if one.by == by and one.state == "pending" and one.due <= now]
        return [one.id for one in sorted(due, key=lambda one: one.due)[:at_most]]

    async def claim(self, by: str, ids: Sequence[str], now: datetime, lease: timedelta) -> list[Notice]:
        self._reach("claim", ids)
        kept = [self.notices[id] for id in ids]
        claimed = [
            replace(one, due=now + lease) for one in kept if one.by == by and one.state == "pending" and one.due <= now
        ]
        self.notices |= {one.id: one for one in claimed}
        return claimed

    async def release(self, notices: Sequence[Notice], due: datetime) -> None:
        self._reach("release", notices)
        for notice in notices:
            kept = self.notices[notice.id]
            if kept.state == "pending" and kept.due == notice.due:
                self.notices[notice.id] = replace(self.notices[notice.id], due=due)

    async def end_tries(self, notices: Sequence[Notice], published: bool) -> None:
        self._reach("end_tries", notices)
        for notice in notices:
            if self.notices[notice.id].state == "pending":
                self.notices[notice.id] = notice
                if notice.ended_at and not published:
                    self.unsaid.add(notice.id)

    async def unpublished(self, at_most: int) -> list[Notice]:
        self._reach("unpublished", self.unsaid)
        found = [self.notices[id] for id in self.unsaid]
        return sorted(found, key=lambda one: one.ended_at or AT)[:at_most]

    async def published(self, ids: Sequence[str]) -> None:
        self._reach("published", ids)
        self.unsaid -= set(ids)

    async def of(self, complaint_id: str) -> list[Notice]:
        self._reach("of", complaint_id)
        found = [one for one in self.notices.values() if one.complaint_id == complaint_id]
        return sorted(found, key=lambda one: (one.facts.at, one.notice, one.by))


class MemoryAdministrations:
    """`stores.Administrations` in memory."""

    def __init__(self) -> None:
        self.names: dict[str, Name] = {}

    async def keep(self, names: Mapping[str, Name]) -> None:
        self.names |= names

    async def named(self, slugs: Collection[str]) -> dict[str, Name]:
        return {slug: self.names[slug] for slug in slugs if slug in self.names}


class Hand:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = AT + timedelta(hours=1)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Gives ports of this package's own range that nothing listens on, each once."""
    candidates = iter(range(24_000, 24_100))

    def give() -> int:
        for port in candidates:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return port
        raise RuntimeError("no free port between 24000 and 24099")

    return give


@pytest.fixture(scope="session")
def mongo_uri(database_of: Callable[[str], str]) -> str:
    """The shared database server, as the user `notification`."""
    return database_of("notification")


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[MongoNotification]:
    """A database with its indexes and nothing in it."""
    database = MongoNotification(mongo_uri, "notification")
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        for collection in ("contacts", "notices", "administrations"):
            client["notification"][collection].delete_many({})
    await database.create_indexes()
    yield database
    await database.close()


@pytest.fixture(params=["memory", "mongo"])
def notices(request: pytest.FixtureRequest) -> Notices:
    """The store of notices: the fake, and the real one."""
    return MemoryNotices() if request.param == "memory" else request.getfixturevalue("database").notices


@pytest.fixture(params=["memory", "mongo"])
def administrations(request: pytest.FixtureRequest) -> Administrations:
    """The store of names, in both forms."""
    return MemoryAdministrations() if request.param == "memory" else request.getfixturevalue("database").administrations


@pytest.fixture
def memory() -> MemoryNotices:
    return MemoryNotices()


@pytest.fixture
def names() -> MemoryAdministrations:
    return MemoryAdministrations()


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def outcomes(memory: MemoryNotices, publisher: RecordingPublisher, clock: Hand) -> Outcomes:
    return Outcomes(memory, publisher, clock)


def submitted(complaint_id: str = "c1", language: str = "fr", **contact: Any) -> Event[Any]:
    """A submission by somebody with an e-mail address and a telephone, unless `contact` says otherwise."""
    both = {"email": "nadia@example.com", "phone": "0612345678"}
    data = ComplaintSubmitted.model_validate(
        {
            "complaint_id": complaint_id,
            "reference": reference.make(2026, 123),
            "verifier": "00",
            "channel": "portal",
            "received_at": AT,
            "nature": "complaint",
            "text": "La rue n'est plus éclairée.",
            "contact": {
                "name": "Nadia El Hamdaoui",
                **(contact or both),
            },
            "language": language,
        }
    )
    return Event(f"{complaint_id}-submitted", "/intake", AT, data, data.TOPIC.name)


@pytest.fixture(name="submitted", scope="session")
def _submitted() -> Callable[..., Event[Any]]:
    return submitted
