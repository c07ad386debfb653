"""Routing on fakes: a store in memory, a classifier that obeys the text, its pages and API with a person at hand."""

import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Annotated, Any

import httpx
import pytest
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.submission import Contact
from chikaya_routing import api, staff_pages
from chikaya_routing.adapters.mongo import MongoStore
from chikaya_routing.consumers import Handlers
from chikaya_routing.domain.catalogue import Edition
from chikaya_routing.domain.judgement import Alternative, Judgement, Submission
from chikaya_routing.domain.language import LanguageGuess
from chikaya_routing.domain.place_search import PlaceSearch
from chikaya_routing.domain.places import Gazetteer
from chikaya_routing.domain.rate import Limiter
from chikaya_routing.domain.routing import OPEN, Complaint, Status, Supplement, status
from chikaya_routing.stores import Item, order
from chikaya_routing.triage import Triage
from chikaya_servicekit import http
from chikaya_servicekit.http import Problem
from chikaya_servicekit.pages import Pages
from chikaya_servicekit.staff import Person
from chikaya_servicekit.testing import RecordingPublisher
from fastapi import APIRouter, FastAPI, Header
from pymongo import MongoClient

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
UNDO = timedelta(seconds=60)
LEASE = timedelta(seconds=300)


def listed(slug: str, own_system: bool = False, **fields: Any) -> AdministrationListed:
    """A row of the catalogue."""
    kind = "commune" if slug.startswith("commune-") else "establishment"
    about = {"name_fr": f"Office {slug}", "name_ar": f"مكتب {slug}", "kind": kind, "competence": f"affaires {slug}"}
    return AdministrationListed.model_validate(
        {"slug": slug, "own_system": own_system, "version": 1, **about, **fields}
    )


@dataclass
class _Kept:
    """A document in memory."""

    complaint: Complaint | None = None
    judgement: Mapping[str, Any] = field(default_factory=dict)
    supplements: tuple[Supplement, ...] = ()
    status: Status | None = None
    withdrawn: bool = False
    held_by: str | None = None
    held_until: datetime | None = None
    answers: tuple[str, ...] = ()
    answered_at: datetime | None = None
    release_at: datetime | None = None

    def whole(self) -> Complaint:
        assert self.complaint
        return replace(self.complaint, supplements=self.supplements, withdrawn=self.withdrawn)

    def item(self) -> Item:
        assert self.status
        return Item(
            self.whole(), self.status, self.judgement, self.held_by, self.held_until, self.answered_at, self.release_at
        )

    def decide(self, complaint: Complaint) -> None:
        self.complaint, self.status = complaint, status(complaint)
        self.held_by = self.held_until = None


class MemoryStore:
    """`stores.Complaints` and `catalogue.Editions` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, _Kept] = {}
        self.present = Edition()

    async def known(self, ids: Iterable[str]) -> dict[str, Complaint]:
        found = {id_: self.kept[id_] for id_ in ids if id_ in self.kept}
        return {id_: one.whole() for id_, one in found.items() if one.complaint}

    async def add(self, decided: Sequence[tuple[Complaint, Judgement]]) -> set[str]:
        present = {complaint.id for complaint, _ in decided} & self.kept.keys()
        for complaint, why in decided:
            kept = self.kept.setdefault(complaint.id, _Kept())
            if not kept.complaint:
                kept.decide(replace(complaint, withdrawn=kept.withdrawn))
                kept.judgement = json.loads(json.dumps(asdict(why)))
        return present

    async def replace(self, decided: Sequence[tuple[Complaint, int]]) -> bool:
        kept = [(self.kept[complaint.id], complaint, known) for complaint, known in decided]
        free = [(one, complaint) for one, complaint, known in kept if len(one.whole().decisions) == known]
        for one, complaint in free:
            one.decide(complaint)
            one.answered_at = None
        return len(free) == len(decided)

    async def supplement(self, added: Sequence[tuple[str, Supplement]]) -> None:
        for id_, one in added:
            kept = self.kept.setdefault(id_, _Kept())
            if one.id not in [known.id for known in kept.supplements]:
                kept.supplements = (*kept.supplements, one)

    async def answered(self, answers: Sequence[tuple[str, str, datetime]]) -> None:
        for id_, event, at in answers:
            kept = self.kept.get(id_)
            if kept and kept.status == "waiting" and event not in kept.answers:
                kept.status, kept.answered_at, kept.answers = "triage", at, (*kept.answers, event)
                kept.release_at = None

    async def withdraw(self, ids: Sequence[str]) -> None:
        for id_ in ids:
            kept = self.kept.setdefault(id_, _Kept())
            kept.withdrawn = True
            if kept.status in OPEN:
                kept.status, kept.held_by, kept.held_until = "withdrawn", None, None

    async def due(self, now: datetime) -> list[Complaint]:
        found = [one for one in self.kept.values() if one.release_at and one.release_at <= now]
        return [one.whole() for one in sorted(found, key=lambda one: one.release_at or now)]

    async def released(self, complaints: Sequence[Complaint]) -> None:
        for complaint in complaints:
            if len(self.kept[complaint.id].whole().decisions) == len(complaint.decisions):
                self.kept[complaint.id].release_at = None

    async def page(self, after: str | None, size: int) -> list[Item]:
        waiting = [one.item() for one in self.kept.values() if one.status == "triage"]
        keyed = sorted((order(one.complaint.submission.received_at, one.complaint.id), one) for one in waiting)
        return [one for at, one in keyed if at > (after or "")][:size]

    async def count(self, most: int) -> int:
        return len(await self.page(None, most))

    async def resting(self, now: datetime) -> list[Item]:
        return [one.item() for one in self.kept.values() if one.release_at and one.release_at > now]

    async def item(self, id: str) -> Item | None:
        for one in self.kept.values():
            if one.complaint and id in (one.complaint.id, one.complaint.submission.reference):
                return one.item()
        return None

    async def claim(self, id: str, officer: str, now: datetime, until: datetime) -> bool:
        kept = self.kept[id]
        free = kept.held_by in (None, officer) or (kept.held_until or now) <= now
        if kept.status in OPEN and free:
            kept.held_by, kept.held_until = officer, until
            return True
        return False

    async def leave(self, id: str, officer: str) -> None:
        if self.kept[id].held_by == officer:
            self.kept[id].held_by = self.kept[id].held_until = None

    async def settle(self, complaint: Complaint, known_decisions: int, officer: str, release_at: datetime) -> bool:
        kept = self.kept[complaint.id]
        free = kept.status in OPEN and kept.held_by == officer and kept.release_at is None
        if not free or len(kept.whole().decisions) != known_decisions:
            return False
        kept.decide(complaint)
        kept.release_at = release_at
        return True

    async def take_back(self, complaint: Complaint, known_decisions: int, resting_at: datetime) -> bool:
        kept = self.kept[complaint.id]
        if len(kept.whole().decisions) != known_decisions or not kept.release_at or kept.release_at <= resting_at:
            return False
        kept.decide(complaint)
        kept.release_at = None
        return True

    async def edition(self) -> Edition:
        return self.present

    async def edition_version(self) -> int:
        return self.present.version

    async def keep_edition(self, edition: Edition) -> bool:
        if edition.version != self.present.version + 1:
            return False
        self.present = edition
        return True


class Obedient:
    """A classifier that does as the text says: `routed cnss`, `triage unsure`, `inadmissible court`."""

    version = "obedient"

    def __init__(self) -> None:
        self.judged: list[str] = []
        self.gazetteer = Gazetteer()

    def judge(self, batch: Sequence[Submission]) -> list[Judgement]:
        self.judged += [one.text for one in batch]
        return [self._judge(one) for one in batch]

    def _judge(self, submission: Submission) -> Judgement:
        outcome, subject, *_ = submission.text.split()
        return Judgement(
            outcome=outcome,  # type: ignore[arg-type]
            administration=subject if outcome == "routed" else None,
            reason=None if outcome == "routed" else subject,  # type: ignore[arg-type]
            probability=0.6,
            alternatives=(
                Alternative("onee", 0.6),
                Alternative("inadmissible:court", 0.3),
                Alternative("triage:place-missing", 0.1),
            ),
            language=LanguageGuess("fr", 0.9),
            nature="complaint",
            nature_probability=0.9,
            place=self.gazetteer.find(submission.text, submission.place),
            words=(("courant", 0.7), ("panne", 0.3)),
            model_version=self.version,
        )


@dataclass
class Time:
    """A clock that moves when it is told to."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class SignedIn:
    """Staff whose person is named by a header: `X-Person: sub;role,role`."""

    router = APIRouter()

    def require(self, *roles: str) -> Callable[..., Any]:
        async def allowed(x_person: Annotated[str, Header()] = "") -> Person:
            sub, _, held = x_person.partition(";")
            if not sub:
                raise Problem(401, "who?")
            if not set(held.split(",")) & set(roles):
                raise Problem(403, "not you")
            return Person(sub, sub.title(), f"{sub}@chikaya.local", tuple(held.split(",")), None, "token")

        return allowed


@dataclass
class Parts:
    """Routing on fakes."""

    store: Any = field(default_factory=MemoryStore)
    classifier: Obedient = field(default_factory=Obedient)
    clock: Time = field(default_factory=Time)
    publisher: RecordingPublisher = field(default_factory=RecordingPublisher)
    rows: dict[str, AdministrationListed] = field(
        default_factory=lambda: {
            row.slug: row
            for row in (
                listed("cnss", own_system=True),
                listed("onee", own_system=True),
                listed("habous"),
                listed("oncf"),
                listed("commune-04-421-01-0", name_fr="Commune de Rabat", name_ar="جماعة الرباط"),
            )
        }
    )
    per_minute: int = 100
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.handlers = Handlers(self.store, lambda: self.classifier, lambda: self.rows, self.publisher, self.clock)  # type: ignore[arg-type, return-value]
        self.triage = Triage(self.store, lambda: self.rows, self.clock, UNDO, LEASE)
        self.pages = Pages("chikaya_routing")
        self.app = FastAPI()
        http.install(self.app, "routing", ())
        places = PlaceSearch(self.classifier.gazetteer)
        model: Any = SimpleNamespace(classifier=self.classifier, places=places)
        staff: Any = SignedIn()
        routing = api.Routing(
            self.triage,
            model,
            lambda: Edition(7, self.rows, {}),
            staff,
            self.pages,
            Limiter(self.per_minute, lambda: self.seconds),
        )
        api.install(self.app, routing)
        staff_pages.install(self.app, routing)

    def client(self, person: str = "", html: bool = False) -> httpx.AsyncClient:
        """A client of the API, or of the pages, as a person (`salma;triage`) or nobody."""
        headers = {"X-Person": person} if person else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app),
            base_url="http://routing.test",
            headers={**headers, "Accept": "text/html" if html else "application/json"},
        )

    async def submit(self, *texts: str, **fields: Any) -> list[Event[Message]]:
        """Submits texts; gives the events, for a repeat."""
        events = [submitted(text, number, **fields) for number, text in enumerate(texts, 1)]
        await self.handlers.submitted(events)
        return events

    def said(self) -> list[tuple[str, str]]:
        """(topic, kind) of all that was published, in order."""
        return [(event.topic, event.type.split(".")[-2]) for event in self.publisher.events]


def submitted(text: str, number: int = 1, **fields: Any) -> Event[Message]:
    """A submission; received `number` minutes after noon."""
    data = ComplaintSubmitted.model_validate(
        {
            "complaint_id": new_id(),
            "reference": f"2026{number:010}",
            "verifier": "v",
            "channel": "portal",
            "received_at": NOON + timedelta(minutes=number),
            "nature": "complaint",
            "text": text,
            "contact": Contact(name="Nadia El Hamdaoui", phone="0600000090"),
            "language": "fr",
            **fields,
        }
    )
    return Event(new_id(), "/intake", NOON, data, topics.SUBMITTED.name, {}, "00-1-2-01")


@pytest.fixture
def parts() -> Parts:
    """Routing on fakes, with nothing in it."""
    return Parts()


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """What tests make things with."""
    return SimpleNamespace(submitted=submitted, listed=listed, Parts=Parts, NOON=NOON, asdict=asdict)


_ports = iter(range(24_700 + os.getpid() % 200, 25_000))


def _free_port() -> int:
    for port in _ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no free port between 24700 and 25000")


@pytest.fixture(scope="session")
def mongo_uri(database_of: Callable[[str], str]) -> str:
    """The shared database server, as its administrator: tests make databases of their own."""
    return database_of("admin")


_numbers = itertools.count()


@pytest.fixture
def database(mongo_uri: str) -> Iterator[str]:
    """The name of an empty database on the real server."""
    name = f"routing_{os.getpid()}_{next(_numbers)}"
    yield name
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        client.drop_database(name)


@pytest.fixture(params=["memory", "mongo"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """The store, once as a fake and once on the real server."""
    if request.param == "memory":
        yield MemoryStore()
        return
    real = MongoStore(request.getfixturevalue("mongo_uri"), request.getfixturevalue("database"))
    await real.create_indexes()
    yield real
    await real.close()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Gives ports that nothing listens on."""
    return _free_port
