"""What a batch of messages leads to: on topics, and by the legal clock."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event
from chikaya_contracts.messages import ALL
from chikaya_contracts.messages.administration import DossierFollowUp
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.lifecycle import CaseEvent
from chikaya_contracts.messages.notification import NoticeSkipped
from chikaya_contracts.messages.requests import ClockReached
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.testing import RecordingPublisher
from chikaya_tracking.adapters.memory import MemoryAdministrations, MemoryCases
from chikaya_tracking.catalogue import Catalogue
from chikaya_tracking.clock import LegalClock
from chikaya_tracking.consumers import Handlers
from chikaya_tracking.domain.case import Rules
from chikaya_tracking.domain.case_file import MAX_PARKED
from chikaya_tracking.parking import Parking
from chikaya_tracking.telemetry import OVERFLOWED, PARKED, PARKED_OLDEST, PARKED_TOO_LONG

RULES = Rules()


class Tracking:
    """Handlers on fakes, and the clock; `now` is where the hand stands."""

    def __init__(self, make: Any) -> None:
        self.cases, self.publisher, self.now = MemoryCases(), RecordingPublisher(), make.day(0)
        self.catalogue = Catalogue(MemoryAdministrations())
        self.missing: set[str] = set()
        self.handlers = Handlers(self.cases, self.catalogue, self.publisher, self.missing_topics, RULES)
        self.clock = LegalClock(self.cases, self.publisher, lambda: self.now, RULES, 30)
        self.parking = Parking(self.cases, lambda: self.now, RULES, timedelta(hours=1), 30)

    async def missing_topics(self, named: set[str]) -> set[str]:
        return named & self.missing

    async def apply(self, *causes: Any) -> Any:
        self.publisher.events.clear()
        await self.handlers.apply(causes)
        return list(self.publisher.events)

    async def tick(self, at: Any) -> Any:
        """The clock looks, and tracking reads what it asked; what was said of it."""
        self.now = at
        self.publisher.events.clear()
        asked = await self.clock.tick()
        requests = list(self.publisher.events)
        assert len(requests) == asked
        return requests, await self.apply(*requests)

    async def list(self, slug: Any, own_system: Any, version: Any = 1) -> Any:
        row = AdministrationListed(
            slug=slug, name_fr="Nom", name_ar="اسم", kind="ministry", own_system=own_system, version=version
        )
        await self.catalogue.apply([Event(f"c{version}", "/routing", self.now, row, topics.CATALOGUE.name)])

    async def look_at_parked(self, at: Any) -> Any:
        """What is parked is looked through; what `/readyz` says then, and how many are late."""
        self.now = at
        await self.parking.look()
        return self.parking.note(), PARKED_TOO_LONG._value.get()


@pytest.fixture
def tracking(make: Any) -> Any:
    return Tracking(make)


def test_every_message_for_tracking_has_a_consumer(tracking: Any) -> None:
    read = {topic.name for consumer in tracking.handlers.consumers() for topic in consumer.topics}
    meant = {row.name for row in topics.table() if "tracking" in row.readers} | {topics.OUTBOX.name}
    assert read == meant - {topics.LIFECYCLE.name}  # its own history is in its store


async def test_a_case_is_told_on_the_lifecycle_topic_with_the_causes_trace(tracking: Any, make: Any) -> None:
    cause = make.submitted()
    traced = Event(cause.id, cause.source, cause.time, cause.data, cause.topic, {}, "00-1-2-01")
    [said] = await tracking.apply(traced)
    assert (said.topic, said.type) == ("complaints.lifecycle.v1", "ma.chikaya.case.received.v1")
    assert (said.traceparent, said.data.cause) == ("00-1-2-01", cause.id)


async def test_follow_ups_go_to_desk_or_to_the_administrations_own_inbox(tracking: Any, make: Any) -> None:
    await tracking.list("onee", own_system=True)
    await tracking.list("habous", own_system=False)
    await tracking.apply(make.submitted(), make.routed("onee"))
    [_, own] = await tracking.apply(make.supplement())
    assert (own.topic, own.extensions) == ("administration.onee.inbox.v1", {"administration": "onee"})
    other = make.another(2)
    await tracking.apply(other.submitted(), other.routed("habous"))
    [_, shared] = await tracking.apply(other.supplement())
    assert (shared.topic, shared.extensions) == ("administration.desk.inbox.v1", {"administration": "habous"})


async def test_an_unknown_administration_is_told_where_its_dossier_lies(tracking: Any, make: Any) -> None:
    await tracking.apply(make.submitted(), make.routed("onee"))
    [_, told] = await tracking.apply(make.supplement())
    assert told.topic == "administration.onee.inbox.v1"


async def test_an_administration_that_moves_is_told_where_it_reads_now(tracking: Any, make: Any) -> None:
    await tracking.list("onee", own_system=True)
    await tracking.apply(make.submitted(), make.routed("onee"))
    await tracking.list("onee", own_system=False, version=2)
    [_, told] = await tracking.apply(make.supplement())
    assert told.topic == "administration.desk.inbox.v1"


async def test_an_inbox_that_is_not_there_is_named_and_comes_back(tracking: Any, make: Any) -> None:
    await tracking.apply(make.submitted(), make.routed("onee"))
    tracking.missing = {"administration.onee.inbox.v1"}
    added = make.supplement()
    with pytest.raises(DependencyDown, match=r"administration\.onee\.inbox\.v1"):
        await tracking.apply(added)
    tracking.missing = set()
    assert [e.type for e in await tracking.apply(added)] == ["ma.chikaya.case.supplemented.v1", DossierFollowUp.TYPE]


async def test_an_inbox_that_vanishes_later_is_named_too(tracking: Any, make: Any) -> None:
    await tracking.apply(make.submitted(), make.routed("onee"), make.supplement())
    tracking.missing = {"administration.onee.inbox.v1"}
    tracking.publisher.fail = DependencyDown("Kafka did not acknowledge")
    with pytest.raises(DependencyDown, match="acknowledge"):
        await tracking.apply(make.supplement(at=3))
    with pytest.raises(DependencyDown, match=r"administration\.onee\.inbox\.v1"):
        await tracking.apply(make.supplement(at=4))


async def test_kafka_away_loses_nothing(tracking: Any, make: Any) -> None:
    tracking.publisher.fail = DependencyDown("away")
    batch = [make.submitted(), make.answer(at=2), make.routed()]
    with pytest.raises(DependencyDown):
        await tracking.handlers.apply(batch)
    tracking.publisher.fail = None
    said = await tracking.apply(*batch)
    assert [e.data.short_name() for e in said] == ["received", "routed", "answered"]
    assert {e.id for e in await tracking.apply(*batch)} == {e.id for e in said}


async def test_nothing_personal_is_said_on_topics_that_are_kept_for_ever(tracking: Any, make: Any) -> None:
    said = await tracking.apply(
        make.submitted(), make.triaged(), make.clarification(), make.reply(), make.supplement(at=7),
        make.routed(number=3, at=8), make.ask(at=9), make.reply(at=10), make.answer(at=11), make.reopen(at=12),
    )  # fmt: skip
    kept = [e for e in said if isinstance(e.data, CaseEvent)]
    assert len(kept) == 10
    for event in kept:
        text = event.data.model_dump_json()
        assert not any(word in text for word in ("Orangers", "dangereux", "lampadaire", "Idrissi", "+212"))


async def test_outcomes_of_notices_are_kept(tracking: Any, make: Any) -> None:
    skipped = NoticeSkipped(
        complaint_id=make.complaint_id, event="e", notice="receipt", by="sms", language="fr", at=make.day(1),
        reason="no-address",
    )  # fmt: skip
    await tracking.handlers.note([Event("o1", "/notification", make.day(1), skipped, topics.OUTCOMES.name)])
    assert await tracking.cases.notices(make.complaint_id) == [skipped]


# -- the clock


async def test_the_clock_says_each_thing_exactly_once(tracking: Any, make: Any) -> None:
    await tracking.apply(make.submitted(), make.routed())
    said = []
    for day in range(0, 100, 3):
        for _ in range(2):  # two instances, or a period that comes again before the first request is read
            said += (await tracking.tick(make.day(day)))[1]
    kept = [e for e in said if isinstance(e.data, CaseEvent)]
    assert [e.data.short_name() for e in kept] == ["deadline-warned", "deadline-breached"]
    follow_ups = [e.data.kind for e in said if isinstance(e.data, DossierFollowUp)]
    assert follow_ups == ["deadline-warned", "deadline-breached"]


async def test_what_was_asked_and_not_decided_is_asked_again_after_an_hour_with_the_same_id(
    tracking: Any, make: Any
) -> None:
    await tracking.apply(make.submitted())
    tracking.now = make.day(80)
    await tracking.clock.tick()
    first = [e.id for e in tracking.publisher.events if isinstance(e.data, ClockReached)]
    tracking.publisher.events.clear()
    tracking.now += timedelta(minutes=59)
    assert await tracking.clock.tick() == 0
    tracking.now += timedelta(minutes=2)
    await tracking.clock.tick()
    assert [e.id for e in tracking.publisher.events] == first
    assert {e.data.threshold for e in tracking.publisher.events} == {
        "relay-breached", "answer-warned", "answer-breached",
    }  # fmt: skip
    assert tracking.publisher.events[0].topic in {model.TOPIC.name for model in ALL.values()}


async def test_an_answered_case_is_closed_by_the_clock(tracking: Any, make: Any) -> None:
    await tracking.apply(make.submitted(), make.routed(), make.answer(at=5))
    assert (await tracking.tick(make.day(30)))[0] == []
    _, said = await tracking.tick(make.day(40))
    assert [e.data.short_name() for e in said if isinstance(e.data, CaseEvent)] == ["closed"]
    assert (await tracking.tick(make.day(41)))[0] == []


async def test_the_clock_looks_at_nothing_that_waits_for_the_citizen(tracking: Any, make: Any) -> None:
    await tracking.apply(make.submitted(), make.routed(), make.ask())
    assert (await tracking.tick(make.day(400)))[0] == []


async def test_an_alarm_is_not_lost_when_kafka_is_away(tracking: Any, make: Any) -> None:
    await tracking.apply(make.submitted())
    tracking.publisher.fail, tracking.now = DependencyDown("away"), make.day(20)
    with pytest.raises(DependencyDown):
        await tracking.clock.tick()
    tracking.publisher.fail = None
    assert len((await tracking.tick(make.day(20)))[0]) == 1


async def test_a_deadline_that_comes_back_to_the_same_day_is_told(tracking: Any, make: Any) -> None:
    """The clock looks while the citizen is asked, finds nothing, and is told anew when the answer has come."""
    await tracking.apply(make.submitted(), make.routed(), make.ask(at=4))
    assert (await tracking.tick(make.day(70)))[0] == []
    await tracking.apply(make.reply(at=70.1))
    said = [one for day in range(71, 140) for one in (await tracking.tick(make.day(day)))[1]]
    kept = [e.data.short_name() for e in said if isinstance(e.data, CaseEvent)]
    assert kept == ["deadline-warned", "deadline-breached"]


# -- parked


async def test_what_waits_too_long_is_shown_until_it_is_let_in(tracking: Any, make: Any) -> None:
    await tracking.apply(make.submitted(), make.answer(at=2))
    assert await tracking.look_at_parked(make.day(2) + timedelta(minutes=59)) == ("", 0)
    assert PARKED._value.get() == 1
    note, late = await tracking.look_at_parked(make.day(2) + timedelta(minutes=61))
    assert (note[:22], late) == ("1 have waited longer t", 1)
    assert PARKED_OLDEST._value.get() == 61 * 60
    await tracking.apply(make.routed(at=2))
    assert await tracking.look_at_parked(make.day(3)) == ("", 0)
    assert (PARKED._value.get(), PARKED_OLDEST._value.get()) == (0, 0)


async def test_what_waits_for_a_complaint_that_nobody_submits_is_let_go_after_the_outboxes_retention(
    tracking: Any, make: Any
) -> None:
    await tracking.apply(make.answer(at=0), make.acknowledge(at=1))
    await tracking.look_at_parked(make.day(90.5))
    assert PARKED._value.get() == 2
    await tracking.look_at_parked(make.day(91.5))
    assert await tracking.look_at_parked(make.day(91.5)) == ("", 0)
    assert PARKED._value.get() == 0
    assert [e.data.short_name() for e in await tracking.apply(make.submitted(), make.routed())] == [
        "received", "routed",
    ]  # fmt: skip


async def test_an_administration_that_sends_too_much_harms_nobody_but_itself(tracking: Any, make: Any) -> None:
    before = OVERFLOWED.labels("administration.onee.outbox.v1")._value.get()
    flood = [make.acknowledge(at=n / 100) for n in range(MAX_PARKED + 30)]
    other = make.another(2)
    said = await tracking.apply(*flood[:70], other.submitted(), *flood[70:])
    assert [e.data.complaint_id for e in said] == [other.complaint_id]
    assert OVERFLOWED.labels("administration.onee.outbox.v1")._value.get() - before == 30
    said = await tracking.apply(make.submitted(), make.routed(), make.answer())
    assert [e.data.short_name() for e in said if isinstance(e.data, CaseEvent)][-1] == "answered"
    assert len(said) == 2 + MAX_PARKED + 1 + (MAX_PARKED - 1)  # all but the first acknowledgement are refused


async def test_an_acknowledgement_is_not_told_before_the_decision_that_it_answers(make: Any) -> None:
    """Two consumers work one case: the second reads what the first has written and not yet published."""
    published: list[str] = []
    go_on = asyncio.Event()

    class SlowForDecisions(RecordingPublisher):
        async def publish(self, events: Sequence[Event[Any]]) -> None:
            if any(event.type.endswith("case.routed.v1") for event in events):
                await go_on.wait()
            published.extend(event.type for event in events if "case." in event.type)

    cases, catalogue = MemoryCases(), Catalogue(MemoryAdministrations())
    handlers = Handlers(cases, catalogue, SlowForDecisions(), Tracking(make).missing_topics, RULES)
    deciding = asyncio.create_task(handlers.apply([make.submitted(), make.routed()]))
    await asyncio.sleep(0)
    acknowledging = asyncio.create_task(handlers.apply([make.acknowledge(at=1)]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert published == []
    go_on.set()
    await asyncio.gather(deciding, acknowledging)
    assert [type.split(".")[3] for type in published] == ["received", "routed", "acknowledged"]
