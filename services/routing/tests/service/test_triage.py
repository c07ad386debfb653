"""Officers at the queue: claims, settlements that rest, undoing, and what the relay publishes."""

from typing import Any

import pytest
from chikaya_contracts import topics
from chikaya_routing.domain.routing import NotAllowed, Settlement
from chikaya_routing.triage import NotFound

ROUTE = Settlement("route", "cnss")
CNSS, ROUTED = topics.INBOX.named("cnss").name, topics.ROUTED.name


async def one_in_triage(parts: Any) -> str:
    (event,) = await parts.submit("triage unsure")
    parts.publisher.events.clear()
    return str(event.data.complaint_id)


async def refused(work: Any) -> str:
    with pytest.raises(NotAllowed) as error:
        await work
    return error.value.why


async def test_a_settlement_rests_and_then_goes_dossier_first(parts: Any) -> None:
    id_ = await one_in_triage(parts)
    item = await parts.triage.settle(id_, "salma", ROUTE)
    assert item.status == "routed"
    parts.clock.pass_(59)
    assert await parts.handlers.release() == 0
    parts.clock.pass_(1)
    assert await parts.handlers.release() == 1
    assert await parts.handlers.release() == 0
    assert parts.said() == [(CNSS, "forwarded"), (ROUTED, "routed")]
    assert [one.data.decision for one in parts.publisher.events] == [2, 2]


async def test_a_relay_that_dies_before_it_noted_the_release_says_the_same_again(parts: Any) -> None:
    id_ = await one_in_triage(parts)
    await parts.triage.settle(id_, "salma", ROUTE)
    parts.clock.pass_(60)
    released = parts.store.released

    async def killed(_: Any) -> None:
        raise ConnectionError

    parts.store.released = killed
    with pytest.raises(ConnectionError):
        await parts.handlers.release()
    parts.store.released = released
    await parts.handlers.release()
    assert parts.said() == [(CNSS, "forwarded"), (ROUTED, "routed")] * 2
    assert len({one.id for one in parts.publisher.events}) == 2


async def test_what_is_undone_is_never_published_and_its_number_is_used_again(parts: Any) -> None:
    id_ = await one_in_triage(parts)
    await parts.triage.settle(id_, "salma", ROUTE)
    parts.clock.pass_(58)
    item = await parts.triage.undo(id_, "nadia")
    assert (item.status, item.held_by) == ("triage", "nadia")
    parts.clock.pass_(60)
    assert await parts.handlers.release() == 0
    assert await refused(parts.triage.settle(id_, "salma", ROUTE)) == "held"
    await parts.triage.settle(id_, "nadia", Settlement("reject", reason="court"))
    parts.clock.pass_(60)
    await parts.handlers.release()
    assert [(one.type.split(".")[-2], one.data.decision) for one in parts.publisher.events] == [("inadmissible", 2)]


async def test_undoing_ends_before_the_relay_begins(parts: Any) -> None:
    id_ = await one_in_triage(parts)
    assert await refused(parts.triage.undo(id_, "salma")) == "too-late"
    await parts.triage.settle(id_, "salma", ROUTE)
    parts.clock.pass_(59.5)
    assert await refused(parts.triage.undo(id_, "salma")) == "too-late"


async def test_two_officers_never_settle_the_same_one(parts: Any) -> None:
    id_ = await one_in_triage(parts)
    assert (await parts.triage.open(id_, "salma")).held_by == "salma"
    assert (await parts.triage.open(id_, "nadia")).held_by == "salma"
    assert await refused(parts.triage.settle(id_, "nadia", ROUTE)) == "held"
    parts.clock.pass_(301)
    assert (await parts.triage.open(id_, "nadia")).held_by == "nadia"
    assert await refused(parts.triage.settle(id_, "salma", ROUTE)) == "held"
    await parts.triage.leave(id_, "nadia")
    await parts.triage.settle(id_, "salma", ROUTE)
    assert await refused(parts.triage.settle(id_, "salma", ROUTE)) == "settled"


async def test_while_a_question_rests_nothing_else_is_decided(parts: Any) -> None:
    id_ = await one_in_triage(parts)
    await parts.triage.settle(id_, "salma", Settlement("ask", question="place"))
    assert await refused(parts.triage.settle(id_, "salma", ROUTE)) == "settled"
    parts.clock.pass_(60)
    await parts.handlers.release()
    assert await refused(parts.triage.settle(id_, "salma", Settlement("ask", question="place"))) == "asked"
    assert (await parts.triage.settle(id_, "salma", ROUTE)).status == "routed"


async def test_only_what_is_in_the_catalogue_can_be_competent(parts: Any) -> None:
    id_ = await one_in_triage(parts)
    assert await refused(parts.triage.settle(id_, "salma", Settlement("route", "gone"))) == "administration"
    with pytest.raises(NotFound):
        await parts.triage.settle("nobody", "salma", ROUTE)


async def test_the_queue_is_read_by_pages_oldest_first(parts: Any) -> None:
    events = await parts.submit(*["triage unsure"] * 7)
    seen, after = [], None
    while True:
        items, after = await parts.triage.queue(after, 3)
        seen += [item.complaint.id for item in items]
        if after is None:
            break
    assert seen == [event.data.complaint_id for event in events]
