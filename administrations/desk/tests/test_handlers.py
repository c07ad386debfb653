"""What the desk does with what it reads, and how decisions leave: on fakes."""

from typing import Any

import pytest
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event
from chikaya_contracts.ids import new_id
from chikaya_desk.adapters.kafka import Outbox
from chikaya_desk.adapters.memory import MemoryAdministrations, MemoryDossiers
from chikaya_desk.catalogue import Catalogue
from chikaya_desk.deciding import Deciding
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.staff import Person
from chikaya_servicekit.testing import RecordingPublisher

OFFICER = Person("officer.habous@chikaya.local", "Fatima Zahra", "", ("officer",), "habous", "")


class Desk:
    """Handlers and decisions on fakes."""

    def __init__(self, make: Any) -> None:
        self.make, self.now = make, make.day(3)
        self.dossiers, self.publisher = MemoryDossiers(), RecordingPublisher()
        self.catalogue = Catalogue(MemoryAdministrations())
        self.deciding = Deciding(self.dossiers, self.catalogue, Outbox(self.publisher), lambda: self.now)

    async def decide(self, action: Any, text: str | None = None, form: str = "f") -> Any:
        wanted = self.deciding.tidied(form, action, text, None)
        return await self.deciding.decide(OFFICER, "habous", self.make.complaint_id, wanted)

    async def state(self) -> str:
        return (await self.dossiers.find(self.make.key)).standing.state


@pytest.fixture
def desk(make: Any) -> Desk:
    return Desk(make)


async def test_a_redelivered_batch_is_a_repeat(desk: Any, make: Any) -> None:
    batch = [make.told("supplemented", 3), make.forwarded(), make.told("withdrawn", 4)]
    await desk.dossiers.receive(batch)
    await desk.dossiers.receive(batch)
    file = await desk.dossiers.find(make.key)
    assert (file.standing.state, len(file.entries)) == ("withdrawn", 3)


async def test_the_catalogue_names_administrations(desk: Any, make: Any) -> None:
    rows = [make.listed("commune-04-421-01-0", "Rabat", "commune"), make.listed("habous", "Habous")]
    await desk.catalogue.apply([Event(new_id(), "/routing", desk.now, row, topics.CATALOGUE.name) for row in rows])
    assert desk.catalogue.commune("04.421.01.0").name_fr == "Rabat"
    assert desk.catalogue.commune("01.001.01.0") is None
    assert [row.slug for row in desk.catalogue.others("habous")] == ["commune-04-421-01-0"]


async def test_a_closed_administration_keeps_its_name_and_is_given_no_case(desk: Any, make: Any) -> None:
    closed = make.listed("oncf", "Chemins de fer").model_copy(update={"closed": True})
    rows = [make.listed("habous", "Habous"), make.listed("poste", "Poste"), closed]
    await desk.catalogue.apply([Event(new_id(), "/routing", desk.now, row, topics.CATALOGUE.name) for row in rows])
    assert [row.slug for row in desk.catalogue.others("habous")] == ["poste"]
    assert desk.catalogue.find("oncf").name_fr == "Chemins de fer"


async def test_a_decision_leaves_as_any_administrations_does(desk: Any, make: Any) -> None:
    await desk.dossiers.receive([make.forwarded()])
    await desk.decide("answer", "C'est réparé.\r\nMerci.")
    [event] = desk.publisher.events
    assert event.topic == "administration.desk.outbox.v1"
    assert event.type == "ma.chikaya.administration.answered.v1"
    assert event.extensions == {"administration": "habous"}
    assert (event.data.administration, event.data.officer) == ("habous", "officer.habous@chikaya.local")
    assert (event.data.complaint_id, event.data.text) == (make.complaint_id, "C'est réparé.\nMerci.")
    assert await desk.state() == "answered"


async def test_a_form_sent_twice_does_nothing_the_second_time(desk: Any, make: Any) -> None:
    await desk.dossiers.receive([make.forwarded()])
    await desk.decide("ask", "Où ?")
    await desk.decide("ask", "Où ?")
    assert len(desk.publisher.events) == 1


async def test_while_kafka_is_away_nothing_counts_and_the_same_again_is_sent_under_its_first_id(
    desk: Any, make: Any
) -> None:
    await desk.dossiers.receive([make.forwarded()])
    desk.publisher.fail = DependencyDown("away")
    with pytest.raises(DependencyDown):
        await desk.decide("answer", "Réparé.")
    assert await desk.state() == "routed"
    kept = (await desk.dossiers.find(make.key)).entries[-1]
    desk.publisher.fail = None
    await desk.decide("answer", "Réparé.")
    assert [event.id for event in desk.publisher.events] == [kept.id]
    assert await desk.state() == "answered"


async def test_a_crash_between_sending_and_noting_is_made_good_by_the_same_again(desk: Any, make: Any) -> None:
    await desk.dossiers.receive([make.forwarded()])
    change, calls = desk.dossiers.change, []

    async def dying(key: Any, how: Any, *read: Any) -> Any:
        calls.append(key)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return await change(key, how, *read)

    desk.dossiers.change = dying
    with pytest.raises(KeyboardInterrupt):
        await desk.decide("answer", "Réparé.")
    desk.dossiers.change = change
    await desk.decide("answer", "Réparé.")
    assert len({event.id for event in desk.publisher.events}) == 1
    assert len(desk.publisher.events) == 2
    assert await desk.state() == "answered"


async def test_a_refused_answer_can_be_given_again(desk: Any, make: Any) -> None:
    await desk.dossiers.receive([make.forwarded()])
    await desk.decide("answer", "Réparé.")
    await desk.dossiers.receive([make.refused("answered", 6)])
    assert await desk.state() == "routed"
    await desk.decide("answer", "Réparé hier.", form="g")
    assert await desk.state() == "answered"
    assert len({event.id for event in desk.publisher.events}) == 2
