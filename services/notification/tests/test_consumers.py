"""What the topics lead to, in any order, with repeats, and with the database or Kafka away in the middle."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from chikaya_contracts.envelope import Event
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_notification.consumers import Handlers
from chikaya_notification.domain.notices import Contact
from chikaya_notification.domain.wording import Name
from chikaya_servicekit.faults import DependencyDown

LATER = datetime(2026, 9, 1, tzinfo=UTC)


@pytest.fixture
def handlers(memory: Any, names: Any, outcomes: Any, clock: Any) -> Handlers:
    return Handlers(memory, names, outcomes, clock, {})


def decided(memory: Any) -> dict[tuple[str, str], tuple[str, str | None]]:
    return {(one.notice, one.by): (one.state, one.language) for one in memory.notices.values()}


async def test_a_case_that_is_received_and_relayed_is_told_by_both_means(
    handlers: Handlers, memory: Any, submitted: Any, happened: Any, publisher: Any
) -> None:
    await handlers.happened([submitted(language="ar")])
    await handlers.happened([happened("received", 1), happened("routed", 2)])
    assert decided(memory) == {
        (notice, by): ("pending", "ar") for notice in ("receipt", "relayed") for by in ("email", "sms")
    }
    assert publisher.events == []


async def test_contact_and_history_in_any_order_with_repeats_give_each_notice_once(
    memory: Any, names: Any, outcomes: Any, submitted: Any, happened: Any, publisher: Any, clock: Any
) -> None:
    history = [happened("received", 1), happened("routed", 2), happened("answered", 3)]
    contact = submitted(email="nadia@example.com")
    steps: list[list[Event[Any]]] = [[contact], history[:2], history[2:]]
    for order in permutations(range(3)):
        if order.index(1) > order.index(2):
            continue
        memory.__init__()
        publisher.events.clear()
        handlers = Handlers(memory, names, outcomes, clock, {})
        for index in (*order, *order):
            await handlers.happened(steps[index])
        assert Counter((one.notice, one.by, one.state) for one in memory.notices.values()) == {
            (notice, by, state): 1
            for notice in ("receipt", "relayed", "answer")
            for by, state in (("email", "pending"), ("sms", "skipped"))
        }
        assert {event.type for event in publisher.events} == {"ma.chikaya.notice.skipped.v1"}
        assert len({event.id for event in publisher.events}) == 3


async def test_the_contact_that_comes_while_notices_are_being_parked_is_not_missed(
    memory: Any, names: Any, outcomes: Any, submitted: Any, happened: Any, clock: Any
) -> None:
    handlers = Handlers(memory, names, outcomes, clock, {})
    add = memory.add

    async def the_contact_comes_first(made: Any) -> set[str]:
        await handlers.happened([submitted()])
        return await add(made)

    memory.add = the_contact_comes_first
    await handlers.happened([happened("received", 1)])
    assert set(decided(memory).values()) == {("pending", "fr")}


@pytest.mark.parametrize("step", ["keep_contacts", "contacts", "add", "waiting", "address"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_batch_that_is_cut_off_is_decided_the_same_when_it_comes_again(
    step: str, after: bool, memory: Any, names: Any, outcomes: Any, clock: Any, submitted: Any, happened: Any
) -> None:
    first = [submitted("c1", phone="0612345678"), happened("received", 1), happened("received", 1, "c2")]
    await Handlers(memory, names, outcomes, clock, {}).happened(first)
    batch = [
        happened("question-answered", 2, answer_due=LATER),
        happened("routed", 3),
        happened("question-answered", 4),
        happened("routed", 5, decision=2, relays=2),
        submitted("c2", phone="0612345679"),
        happened("routed", 2, "c2"),
    ]
    original: Callable[..., Any] = getattr(memory, step)

    async def fails(*args: Any) -> None:
        if after:
            await original(*args)
        raise DependencyDown("away")

    setattr(memory, step, fails)
    killed = Handlers(memory, names, outcomes, clock, {})
    with pytest.raises(DependencyDown):
        await killed.happened(batch)
    setattr(memory, step, original)
    for handlers in (killed, Handlers(memory, names, outcomes, clock, {})):
        await handlers.happened(batch)
        relayed = {one.event: one.facts for one in memory.notices.values() if one.notice == "relayed"}
        assert {event: (facts.again, facts.answer_due) for event, facts in relayed.items()} == {
            "c1-3": (False, happened("routed").data.answer_due),
            "c1-5": (True, happened("routed").data.answer_due),
            "c2-2": (False, happened("routed").data.answer_due),
        }
        assert Counter((one.by, one.state) for one in memory.notices.values()) == {
            ("sms", "pending"): 5, ("email", "skipped"): 5
        }  # fmt: skip


async def test_the_events_of_a_busy_minute_ask_the_store_nothing_and_write_once(
    handlers: Handlers, memory: Any, submitted: Any, happened: Any
) -> None:
    await handlers.happened([submitted()])
    memory.asked.clear()
    for sequence, name in enumerate(["received", "routed", "acknowledged", "started", "answered", "closed"], 1):
        await handlers.happened([happened(name, sequence)])
    assert len(memory.notices) == 6
    assert +memory.asked == {"add": 3}


async def test_an_event_that_was_overtaken_on_its_topic_leads_to_its_notices_all_the_same(
    memory: Any, names: Any, outcomes: Any, clock: Any, submitted: Any, happened: Any
) -> None:
    history = [happened("received", 1), happened("routed", 2), happened("acknowledged", 3), happened("answered", 4)]
    in_order = Handlers(memory, names, outcomes, clock, {})
    await in_order.happened([submitted(), *history])
    expected = dict(memory.notices)
    memory.notices.clear()
    for event in (history[3], history[1], history[0], history[1], history[2]):
        await Handlers(memory, names, outcomes, clock, {}).happened([event])
    assert memory.notices == expected


async def test_an_address_that_has_been_erased_is_soon_known_no_more(
    handlers: Handlers, memory: Any, clock: Any, submitted: Any, happened: Any
) -> None:
    await handlers.happened([submitted(), happened("received", 1)])
    memory.addresses.clear()
    clock.now += timedelta(seconds=40)
    await handlers.happened([happened("acknowledged", 2)])
    clock.now += timedelta(seconds=40)
    await handlers.happened([happened("routed", 3)])
    assert {one.state for one in memory.notices.values() if one.notice == "relayed"} == {"waiting"}


async def test_while_kafka_is_away_nothing_is_kept_that_was_not_published(
    handlers: Handlers, memory: Any, submitted: Any, happened: Any, publisher: Any
) -> None:
    publisher.fail = DependencyDown("away")
    batch = [submitted(phone="0612345678"), happened("received", 1)]
    with pytest.raises(DependencyDown):
        await handlers.happened(batch)
    assert memory.notices == {}
    publisher.fail = None
    await handlers.happened(batch)
    assert [event.data.reason for event in publisher.events] == ["no-address"]
    assert {(one.by, one.state) for one in memory.notices.values()} == {("email", "skipped"), ("sms", "pending")}


async def test_what_is_kept_of_a_contact_is_where_to_write_and_in_which_language(
    handlers: Handlers, memory: Any, submitted: Any
) -> None:
    await handlers.happened([submitted(language="ar", email="nadia@example.com")])
    assert memory.addresses["c1"] == Contact("ar", "nadia@example.com", None)


async def test_names_come_from_the_catalogue(handlers: Handlers, names: Any, clock: Any) -> None:
    data = AdministrationListed(
        slug="cnss", name_fr="Caisse", name_ar="الصندوق", kind="establishment", own_system=True, version=1
    )
    await handlers.listed([Event("x", "/routing", clock(), data, data.TOPIC.name)])
    assert names.names == {"cnss": Name("Caisse", "الصندوق")}
