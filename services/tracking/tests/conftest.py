"""Messages as they come from topics, on numbered days, and the stores that the suites run on."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from chikaya_contracts import access, reference, topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import new_id
from chikaya_contracts.messages import administration, intake, lifecycle, requests, routing
from chikaya_contracts.submission import Contact
from chikaya_tracking.adapters.cases import Cases
from chikaya_tracking.adapters.memory import MemoryAdministrations, MemoryCases, MemoryTries
from chikaya_tracking.adapters.mongo import Database, MongoAdministrations, MongoCases, MongoTries
from chikaya_tracking.domain.case import Case, Cause, Rules
from chikaya_tracking.domain.case_file import CaseFile, Consequence, consequences, receive

VERIFIER_KEY = b"a key for tests"
CODE = "AB12-CD34-EF56"


class Making:
    """Makes messages about one complaint; `day(n)` is n days after its receipt, a Monday morning."""

    start = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    rules = Rules()

    def __init__(self, number: int = 1) -> None:
        self.complaint_id = f"0197a000-0000-7000-8000-{number:012d}"
        self.reference = reference.make(2026, number)

    def another(self, number: int) -> "Making":
        return Making(number)

    def day(self, n: float) -> datetime:
        return self.start + timedelta(days=n)

    def event(self, data: Message, topic: str, at: datetime, id: str | None = None) -> Cause:
        return Event(id or new_id(), "/tests", at, data, topic)

    def submitted(self, at: float = 0, id: str | None = None, **fields: Any) -> Cause:
        data = intake.ComplaintSubmitted(
            **{
                "complaint_id": self.complaint_id,
                "reference": self.reference,
                "verifier": access.verifier(VERIFIER_KEY, self.complaint_id, CODE),
                "channel": "portal",
                "received_at": self.day(at),
                "nature": "complaint",
                "text": "Le lampadaire de la rue est éteint depuis un mois.",
                "contact": Contact(name="Salma Idrissi", phone="0612345678"),
                "language": "fr",
                **fields,
            }
        )
        return self.event(data, topics.SUBMITTED.name, self.day(at), id)

    def _decided(self, kind: type[routing.Decision], number: int, at: float, **fields: Any) -> Cause:
        data = kind(complaint_id=self.complaint_id, decision=number, decided_at=self.day(at), by="model", **fields)
        return self.event(data, topics.ROUTED.name, self.day(at))

    def routed(self, to: str = "onee", number: int = 1, at: float = 1) -> Cause:
        inbox = topics.INBOX.named(to).name
        return self._decided(routing.ComplaintRouted, number, at, administration=to, inbox=inbox)

    def triaged(self, number: int = 1, at: float = 1, reason: str = "unsure") -> Cause:
        return self._decided(routing.ComplaintTriaged, number, at, reason=reason)

    def inadmissible(self, number: int = 1, at: float = 1) -> Cause:
        return self._decided(routing.ComplaintInadmissible, number, at, reason="court")

    def clarification(self, number: int = 2, at: float = 2) -> Cause:
        return self._decided(routing.ClarificationAsked, number, at, question="place")

    def _outbox(
        self, kind: type[administration.AdministrationDecision], of: str, at: float, topic: str | None, **fields: Any
    ) -> Cause:
        data = kind(complaint_id=self.complaint_id, administration=of, **fields)
        return self.event(data, topics.OUTBOX.named(topic or of).name, self.day(at))

    def acknowledge(self, of: str = "onee", at: float = 2, topic: str | None = None) -> Cause:
        return self._outbox(administration.Acknowledge, of, at, topic)

    def start_work(self, of: str = "onee", at: float = 3, topic: str | None = None) -> Cause:
        return self._outbox(administration.Start, of, at, topic)

    def ask(self, of: str = "onee", at: float = 4, topic: str | None = None) -> Cause:
        return self._outbox(administration.AskCitizen, of, at, topic, text="Quelle rue ?")

    def answer(self, of: str = "onee", at: float = 5, topic: str | None = None) -> Cause:
        return self._outbox(administration.Answer, of, at, topic, text="Le lampadaire est réparé.")

    def transfer(self, of: str = "onee", at: float = 3, proposed: str | None = None) -> Cause:
        return self._outbox(
            administration.RequestTransfer, of, at, None, text="Relève de la commune.", proposed=proposed
        )

    def request(self, kind: type[requests.CaseRequest], at: float, by: str = "citizen", **fields: Any) -> Cause:
        data = kind(complaint_id=self.complaint_id, at=self.day(at), by=by, **fields)
        return self.event(data, topics.REQUESTS.name, self.day(at))

    def reply(self, at: float = 6, by: str = "citizen") -> Cause:
        return self.request(requests.AnswerQuestion, at, by, text="Rue des Orangers.")

    def supplement(self, at: float = 2, by: str = "citizen", text: str = "C'est dangereux le soir.") -> Cause:
        return self.request(requests.Supplement, at, by, text=text)

    def withdraw(self, at: float = 3, by: str = "citizen", text: str | None = None) -> Cause:
        return self.request(requests.Withdraw, at, by, text=text)

    def rate(self, at: float = 7, score: int = 4, by: str = "citizen") -> Cause:
        return self.request(requests.Rate, at, by, score=score)

    def reopen(self, at: float = 8, by: str = "citizen") -> Cause:
        return self.request(requests.Reopen, at, by, text="Il est de nouveau éteint.")

    def clock(self, threshold: str, due: datetime, at: float) -> Cause:
        return self.request(requests.ClockReached, at, "clock", threshold=threshold, due=due)

    def file(self, *causes: Cause) -> CaseFile:
        file = CaseFile(self.complaint_id)
        for cause in causes:
            file = receive(file, cause, self.rules)
        return file

    def case(self, *causes: Cause) -> Case:
        case = self.file(self.submitted(), *causes).case
        assert case is not None
        return case

    def names(self, file: CaseFile) -> list[str]:
        return [event.short_name() for event in file.history]

    def after(self, file: CaseFile, cause: Cause) -> tuple[CaseFile, list[Consequence]]:
        after = receive(file, cause, self.rules)
        return after, consequences(after, cause)

    def follow_ups(self, given: Sequence[Consequence]) -> list[tuple[str, str]]:
        return [
            (one.data.administration, one.data.kind)
            for one in given
            if isinstance(one.data, administration.DossierFollowUp)
        ]

    def lifecycle(self, given: Sequence[Consequence]) -> list[str]:
        return [one.data.short_name() for one in given if isinstance(one.data, lifecycle.CaseEvent)]


@pytest.fixture(scope="session")
def make() -> Making:
    return Making()


@pytest.fixture(scope="session")
def mongo_uri(database_of: Callable[[str], str]) -> str:
    """The shared database server, as the user `tracking`."""
    return database_of("tracking")


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    """A database with its indexes and nothing in it."""
    database = Database(mongo_uri, "tracking")
    for collection in ("steps", "references", "parked", "notices", "tries", "administrations"):
        await database.db[collection].delete_many({})
    await database.create_indexes()
    yield database
    await database.close()


@pytest.fixture(params=["memory", "mongo"])
def cases(request: pytest.FixtureRequest) -> Cases:
    """The store of cases: the fake, and the real one."""
    if request.param == "memory":
        return MemoryCases()
    return MongoCases(request.getfixturevalue("database"))


@pytest.fixture(params=["memory", "mongo"])
def administrations(request: pytest.FixtureRequest) -> MemoryAdministrations | MongoAdministrations:
    """The catalogue's store, in both forms."""
    if request.param == "memory":
        return MemoryAdministrations()
    return MongoAdministrations(request.getfixturevalue("database"))


@pytest.fixture(params=["memory", "mongo"])
def tries(request: pytest.FixtureRequest) -> MemoryTries | MongoTries:
    """The counters, in both forms."""
    if request.param == "memory":
        return MemoryTries()
    return MongoTries(request.getfixturevalue("database"))
