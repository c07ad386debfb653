"""What the topics lead to, in any order, with repeats, and with the database or Kafka away in the middle."""

from collections import Counter
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from chikaya_contracts.envelope import Event
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_notification.consumers import Handlers
from chikaya_notification.domain.notices import Contact
from chikaya_notification.domain.wording import Name
from chikaya_servicekit.faults import DependencyDown


@pytest.fixture
def woken() -> list[None]:
    return []


@pytest.fixture
def handlers(memory: Any, names: Any, outcomes: Any, woken: list[None]) -> Handlers:
    return Handlers(memory, names, outcomes, lambda: woken.append(None))


def decided(memory: Any) -> dict[tuple[str, str], tuple[str, str | None]]:
    return {(one.notice, one.by): (one.state, one.language) for one in memory.notices.values()}


async def test_a_case_that_is_received_and_relayed_is_told_by_both_means(
    handlers: Handlers, memory: Any, woken: list[None], submitted: Any, happened: Any, publisher: Any
) -> None:
    await handlers.submitted([submitted(language="ar")])
    await handlers.happened([happened("received", 1), happened("routed", 2)])
    assert decided(memory) == {
        (notice, by): ("pending", "ar") for notice in ("receipt", "relayed") for by in ("email", "sms")
    }
    assert woken
    assert publisher.events == []


async def test_contact_and_history_in_any_order_with_repeats_give_each_notice_once(
    memory: Any, names: Any, outcomes: Any, submitted: Any, happened: Any, publisher: Any
) -> None:
    history = [happened("received", 1), happened("routed", 2), happened("answered", 3)]
    contact = submitted(email="nadia@example.com")
    steps: list[tuple[str, list[Event[Any]]]] = [
        ("submitted", [contact]), ("happened", history[:2]), ("happened", history[2:])
    ]  # fmt: skip
    for order in permutations(range(3)):
        if order.index(1) > order.index(2):
            continue
        memory.__init__()
        publisher.events.clear()
        handlers = Handlers(memory, names, outcomes, lambda: None)
        for index in (*order, *order):
            name, events = steps[index]
            await getattr(handlers, name)(events)
        assert Counter((one.notice, one.by, one.state) for one in memory.notices.values()) == {
            (notice, by, state): 1
            for notice in ("receipt", "relayed", "answer")
            for by, state in (("email", "pending"), ("sms", "skipped"))
        }
        assert {event.type for event in publisher.events} == {"ma.chikaya.notice.skipped.v1"}
        assert len({event.id for event in publisher.events}) == 3
        assert memory.unsaid == set()


async def test_the_contact_that_comes_while_notices_are_being_parked_is_not_missed(
    memory: Any, names: Any, outcomes: Any, submitted: Any, happened: Any
) -> None:
    handlers = Handlers(memory, names, outcomes, lambda: None)
    add = memory.add

    async def the_contact_comes_first(made: Any) -> None:
        await handlers.submitted([submitted()])
        await add(made)

    memory.add = the_contact_comes_first
    await handlers.happened([happened("received", 1)])
    assert set(decided(memory).values()) == {("pending", "fr")}


@pytest.mark.parametrize("step", ["add", "waiting", "address", "remember", "published"])
async def test_a_batch_that_is_cut_off_is_decided_the_same_when_it_comes_again(
    step: str, handlers: Handlers, memory: Any, submitted: Any, happened: Any
) -> None:
    batch = [happened("received", 1), happened("routed", 2), happened("routed", 5, decision=2)]
    batch += [happened("received", 1, "c2")]
    await handlers.submitted([submitted("c1", phone="0612345678")])
    original: Callable[..., Any] = getattr(memory, step)

    async def fails(*_: Any) -> None:
        raise DependencyDown("away")

    setattr(memory, step, fails)
    with pytest.raises(DependencyDown):
        await handlers.happened(batch)
    setattr(memory, step, original)
    await handlers.happened(batch)
    again = {one.event: one.facts.again for one in memory.notices.values() if one.notice == "relayed"}
    assert again == {"c1-2": False, "c1-5": True}
    assert len(memory.notices) == 8


async def test_while_kafka_is_away_a_skipped_notice_is_kept_and_said_with_the_repeat(
    handlers: Handlers, memory: Any, submitted: Any, happened: Any, publisher: Any
) -> None:
    await handlers.submitted([submitted(phone="0612345678")])
    publisher.fail = DependencyDown("away")
    with pytest.raises(DependencyDown):
        await handlers.happened([happened("received", 1)])
    assert len(memory.unsaid) == 1
    publisher.fail = None
    await handlers.happened([happened("received", 1)])
    assert [event.data.reason for event in publisher.events] == ["no-address"]
    assert memory.unsaid == set()


async def test_an_outcome_that_a_crash_left_over_is_published_later(
    handlers: Handlers, memory: Any, submitted: Any, happened: Any, publisher: Any, outcomes: Any, clock: Any
) -> None:
    await handlers.submitted([submitted(phone="0612345678")])
    await handlers.happened([happened("received", 1)])
    [first] = publisher.events
    memory.unsaid = {one.id for one in memory.notices.values() if one.ended_at}
    assert await outcomes.publish_left_over() == 1
    assert publisher.events == [first, first]
    assert await outcomes.publish_left_over() == 0


async def test_what_is_kept_of_a_contact_is_where_to_write_and_in_which_language(
    handlers: Handlers, memory: Any, submitted: Any
) -> None:
    await handlers.submitted([submitted(language="ar", email="nadia@example.com")])
    assert memory.cases["c1"].contact == Contact("ar", "nadia@example.com", None)


async def test_events_that_nobody_is_told_about_are_still_counted_in(
    handlers: Handlers, memory: Any, happened: Any
) -> None:
    await handlers.happened([happened("received", 1), happened("question-answered", 2)])
    assert memory.cases["c1"].told.answer_due == happened("question-answered").data.answer_due


async def test_names_come_from_the_catalogue(handlers: Handlers, names: Any, clock: Any) -> None:
    data = AdministrationListed(
        slug="cnss", name_fr="Caisse", name_ar="الصندوق", kind="establishment", own_system=True, version=1
    )
    await handlers.listed([Event("x", "/routing", clock(), data, data.TOPIC.name)])
    assert names.names == {"cnss": Name("Caisse", "الصندوق")}
