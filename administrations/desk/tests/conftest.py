"""Messages as an inbox holds them, on numbered days; officers; and the stores that the suites run on."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from chikaya_contracts import reference, topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.administration import DossierFollowUp
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.routing import DossierForwarded
from chikaya_contracts.submission import Contact, Place
from chikaya_desk.adapters.dossiers import Dossiers
from chikaya_desk.adapters.memory import MemoryAdministrations, MemoryDossiers
from chikaya_desk.adapters.mongo import Database, MongoAdministrations, MongoDossiers
from chikaya_desk.domain.dossier import Action, DossierFile, Made, decide, receive, sent

HABOUS = "habous"
INBOX = topics.INBOX.named(topics.DESK).name


class Making:
    """Makes messages about one complaint; `day(n)` is n days after its receipt, a Monday morning."""

    start = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    administration = HABOUS

    def __init__(self, number: int = 1) -> None:
        self.complaint_id = f"0197a000-0000-7000-8000-{number:012d}"
        self.reference = reference.make(2026, number)
        self.key = (self.administration, self.complaint_id)

    def another(self, number: int) -> "Making":
        return Making(number)

    def day(self, n: float) -> datetime:
        return self.start + timedelta(days=n)

    def _event(self, data: Message, at: float, id: str | None) -> Event[Message]:
        extensions = {"administration": data.administration}
        return Event(id or new_id(), "/tests", self.day(at), data, INBOX, extensions)

    def forwarded(self, decision: int = 1, at: float = 1, id: str | None = None, **fields: Any) -> Event[Message]:
        data = DossierForwarded(
            **{
                "complaint_id": self.complaint_id,
                "reference": self.reference,
                "decision": decision,
                "administration": self.administration,
                "channel": "portal",
                "received_at": self.day(0),
                "relay_due": self.day(15),
                "answer_due": self.day(60),
                "nature": "complaint",
                "text": "Le toit de la mosquée du quartier fuit depuis l'automne.",
                "place": Place(commune="04.421.01.0", text="Agdal"),
                "contact": Contact(name="Salma Idrissi", phone="0612345678", email="salma@example.org"),
                "notice_language": "fr",
                "by": "model",
                **fields,
            }
        )
        return self._event(data, at, id)

    def told(self, kind: str, sequence: int, at: float = 5, id: str | None = None, **fields: Any) -> Event[Message]:
        data = DossierFollowUp(
            **{
                "complaint_id": self.complaint_id,
                "reference": self.reference,
                "administration": self.administration,
                "kind": kind,
                "at": self.day(at),
                "sequence": sequence,
                **fields,
            }
        )
        return self._event(data, at, id)

    def refused(self, request: str, sequence: int, at: float = 5, reason: str = "state") -> Event[Message]:
        return self.told("refused", sequence, at, request=f"ma.chikaya.administration.{request}.v1", reason=reason)

    def made(self, action: Action, at: float = 2, form: str | None = None, text: str | None = None) -> Made:
        id = new_id()
        return Made(id, form or id, action, self.day(at), "officer.habous@chikaya.local", "Fatima Zahra", text)

    def file(self, *steps: Event[Message] | Made) -> DossierFile:
        """A dossier after these messages and decisions, each sent at once."""
        file = DossierFile(self.complaint_id, self.administration)
        for step in steps:
            file = sent(decide(file, step), step.id) if isinstance(step, Made) else receive(file, step)
        return file

    def state(self, *steps: Event[Message] | Made) -> str:
        standing = self.file(*steps).standing
        assert standing is not None
        return standing.state

    def listed(self, slug: str, name: str, kind: str = "ministry", version: int = 1) -> AdministrationListed:
        return AdministrationListed.model_validate(
            {
                "slug": slug, "name_fr": name, "name_ar": f"{name} بالعربية", "kind": kind, "own_system": False,
                "version": version,
            }
        )  # fmt: skip


@pytest.fixture(scope="session")
def make() -> Making:
    return Making()


@pytest.fixture(scope="session")
def mongo_uri(database_of: Callable[[str], str]) -> str:
    """The shared database server, as the user `desk`."""
    return database_of("desk")


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    """A database with its indexes and nothing in it."""
    database = Database(mongo_uri, "desk")
    for collection in ("dossiers", "administrations"):
        await database.db[collection].delete_many({})
    await database.create_indexes()
    yield database
    await database.close()


@pytest.fixture(params=["memory", "mongo"])
def dossiers(request: pytest.FixtureRequest) -> Dossiers:
    """The store of dossiers: the fake, and the real one."""
    if request.param == "memory":
        return MemoryDossiers()
    return MongoDossiers(request.getfixturevalue("database"))


@pytest.fixture(params=["memory", "mongo"])
def administrations(request: pytest.FixtureRequest) -> MemoryAdministrations | MongoAdministrations:
    """The catalogue's store, in both forms."""
    if request.param == "memory":
        return MemoryAdministrations()
    return MongoAdministrations(request.getfixturevalue("database"))
