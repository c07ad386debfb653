"""One suite for the store in memory and on the real server; what only the real one has comes last."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from chikaya_contracts.ids import new_id
from chikaya_routing.adapters.mongo import MongoStore
from chikaya_routing.domain import routing
from chikaya_routing.domain.catalogue import Edition, difference
from chikaya_routing.domain.judgement import Judgement, Submission
from chikaya_routing.domain.routing import Complaint, Settlement, Supplement
from chikaya_routing.stores import order
from chikaya_servicekit import paging
from pymongo import MongoClient


@pytest.fixture
def decided(parts: Any, make: Any) -> Any:
    """Makes a complaint with its first decision, and the judgement."""

    def one(text: str = "triage unsure", number: int = 1, **fields: Any) -> tuple[Complaint, Judgement]:
        event = make.submitted(text, number, **fields)
        (judgement,) = parts.classifier.judge([Submission(text, place="Rabat")])
        decision = routing.first(event.data, judgement, parts.rows, make.NOON)
        complaint = routing.with_decision(Complaint(event.data), decision, event.id, event.traceparent, make.NOON)
        return complaint, judgement

    return one


def settled(parts: Any, complaint: Complaint, at: Any, release_at: Any) -> Complaint:
    decision = routing.settle(complaint, Settlement("route", "cnss"), parts.rows, at)
    return routing.with_decision(complaint, decision, new_id(), None, release_at, "salma", "une note")


async def test_a_complaint_comes_back_as_it_was(store: Any, decided: Any) -> None:
    complaint, why = decided("routed cnss نص بالعربية")
    assert await store.add([]) == set()
    assert await store.add([(complaint, why)]) == set()
    assert (await store.known([complaint.id, "nobody"])) == {complaint.id: complaint}
    item = await store.item(complaint.submission.reference)
    assert (item.complaint, item.status, item.held_by) == (complaint, "routed", None)
    assert item.judgement["place"]["commune"]["name_fr"] == "Rabat"
    assert item.judgement["words"][0][0] == "courant"
    assert await store.item("nobody") is None


async def test_the_first_decision_stands(store: Any, decided: Any) -> None:
    (first, why), (other, _) = decided(), decided(number=2)
    again = replace(first, decisions=())
    again = replace(again, decisions=(replace(first.decisions[0], cause="another"),))
    assert await store.add([(first, why)]) == set()
    assert await store.add([(again, why), (other, why)]) == {first.id}
    assert await store.known([first.id, other.id]) == {first.id: first, other.id: other}


async def test_what_came_before_the_submission_is_kept(store: Any, decided: Any, make: Any) -> None:
    complaint, why = decided()
    early = Supplement("s1", make.NOON, "plus")
    await store.supplement([(complaint.id, early), (complaint.id, early), ("other", early)])
    await store.supplement([(complaint.id, early), (complaint.id, Supplement("s2", make.NOON, "encore"))])
    assert await store.item(complaint.id) is None
    assert await store.known([complaint.id]) == {}
    assert await store.add([(complaint, why)]) == {complaint.id}
    kept = (await store.known([complaint.id]))[complaint.id]
    assert [one.text for one in kept.supplements] == ["plus", "encore"]
    assert kept == replace(complaint, supplements=kept.supplements)


async def test_a_further_decision_is_conditional_on_those_before(store: Any, parts: Any, decided: Any) -> None:
    complaint, why = decided()
    await store.add([(complaint, why)])
    further = settled(parts, complaint, parts.clock(), parts.clock())
    assert await store.replace([(replace(further, proposed="onee"), 1)])
    other, why = decided(number=2)
    await store.add([(other, why)])
    others = settled(parts, other, parts.clock(), parts.clock())
    assert not await store.replace([(further, 1), (others, 1)])
    kept = await store.known([complaint.id, other.id])
    assert (kept[complaint.id].decisions, kept[complaint.id].proposed) == (further.decisions, "onee")
    assert kept[other.id].decisions == others.decisions


async def test_the_queue_by_pages(store: Any, decided: Any) -> None:
    made = [decided(number=number) for number in (3, 1, 2, 2, 2)] + [decided("routed cnss", 1)]
    await store.add(made)
    expected = sorted(order(one.submission.received_at, one.id) for one, _ in made[:5])
    after, seen = None, []
    while page := await store.page(after, 2):
        seen += [order(one.complaint.submission.received_at, one.complaint.id) for one in page]
        after = seen[-1]
    assert seen == expected
    assert (await store.count(10), await store.count(3)) == (5, 3)


async def test_a_claim_is_one_officers_until_it_runs_out(store: Any, decided: Any, make: Any) -> None:
    complaint, why = decided()
    done, _ = decided("routed cnss", 2)
    await store.add([(complaint, why), (done, why)])
    later = make.NOON + timedelta(minutes=5)
    assert await store.claim(complaint.id, "salma", make.NOON, later)
    assert await store.claim(complaint.id, "salma", make.NOON, later)
    assert not await store.claim(complaint.id, "nadia", make.NOON, later)
    assert not await store.claim(done.id, "nadia", make.NOON, later)
    item = await store.item(complaint.id)
    assert (item.held_by, item.held_until) == ("salma", later)
    assert await store.claim(complaint.id, "nadia", later, later + timedelta(minutes=5))
    await store.leave(complaint.id, "salma")
    assert (await store.item(complaint.id)).held_by == "nadia"
    await store.leave(complaint.id, "nadia")
    assert (await store.item(complaint.id)).held_by is None


async def test_of_many_who_claim_at_once_one_has_it(store: Any, decided: Any, make: Any) -> None:
    complaint, why = decided()
    await store.add([(complaint, why)])
    later = make.NOON + timedelta(minutes=5)
    won = await asyncio.gather(*(store.claim(complaint.id, f"o{n}", make.NOON, later) for n in range(12)))
    assert sum(won) == 1


async def test_a_settlement_rests_until_it_is_due_or_taken_back(
    store: Any, parts: Any, decided: Any, make: Any
) -> None:
    complaint, why = decided()
    await store.add([(complaint, why)])
    due = make.NOON + timedelta(seconds=60)
    decision = settled(parts, complaint, make.NOON, due)
    assert not await store.settle(decision, 1, "salma", due)
    await store.claim(complaint.id, "salma", make.NOON, due)
    assert not await store.settle(decision, 1, "nadia", due)
    assert await store.settle(decision, 1, "salma", due)
    assert not await store.settle(decision, 1, "salma", due)
    assert await store.due(make.NOON) == []
    assert [one.complaint for one in await store.resting(make.NOON)] == [decision]
    assert not await store.take_back(complaint, 2, due)
    assert await store.take_back(complaint, 2, make.NOON)
    assert await store.resting(make.NOON) == []
    assert (await store.item(complaint.id)).complaint == complaint
    await store.claim(complaint.id, "salma", make.NOON, due)
    await store.settle(decision, 1, "salma", due)
    assert await store.due(due) == [decision]
    await store.released([decision])
    assert await store.due(due) == []
    assert not await store.take_back(complaint, 2, make.NOON)


async def test_an_answer_and_a_withdrawal_change_where_a_complaint_stands(
    store: Any, parts: Any, decided: Any, make: Any
) -> None:
    complaint, why = decided()
    routed, _ = decided("routed cnss", 2)
    await store.add([(complaint, why), (routed, why)])
    asked = routing.settle(complaint, Settlement("ask", question="place"), parts.rows, make.NOON)
    waiting = routing.with_decision(complaint, asked, new_id(), None, make.NOON)
    assert await store.replace([(waiting, 1)])
    assert await store.page(None, 5) == []
    for _ in range(2):
        await store.answered(
            [(complaint.id, "e1", make.NOON), (routed.id, "e2", make.NOON), ("nobody", "e3", make.NOON)]
        )
    item = await store.item(complaint.id)
    assert (item.status, item.answered_at) == ("triage", make.NOON)
    await store.withdraw([complaint.id, routed.id, "early"])
    assert [(await store.item(one.id)).status for one in (complaint, routed)] == ["withdrawn", "routed"]
    assert (await store.known([complaint.id]))[complaint.id].withdrawn
    early, why = decided(number=3, complaint_id="early")
    await store.add([(early, why)])
    assert (await store.item("early")).status == "withdrawn"


async def test_an_edition_takes_effect_whole_and_once(store: Any, make: Any) -> None:
    assert (await store.edition(), await store.edition_version()) == (Edition(), 0)
    first = difference(Edition(), {slug: make.listed(slug) for slug in ("cnss", "onee")}).edition
    assert await store.keep_edition(first)
    assert not await store.keep_edition(first)
    second = difference(first, {"cnss": make.listed("cnss", own_system=True)}).edition
    assert await store.keep_edition(second)
    assert not await store.keep_edition(second)
    assert (await store.edition(), await store.edition_version()) == (second, 2)
    assert list((await store.edition()).closed) == ["onee"]


async def test_indexes_can_be_made_again_and_lists_are_read_from_theirs(mongo_uri: str, database: str) -> None:
    real = MongoStore(mongo_uri, database)
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        await real.create_indexes()
        await real.create_indexes()
        await real.ping()
        rows = [{"queue": paging.key("triage", f"{n:04}", str(n))} for n in range(500)]
        client[database].complaints.insert_many([*rows, *({"queue": f"resting|{n:04}"} for n in range(500)), {}])
        for low, high, found in (("triage|0|0100", "triage|0|0110", 10), ("resting|", "resting|0005", 5)):
            wanted = {"find": "complaints", "filter": {"queue": {"$gt": low, "$lt": high}}}
            explained = client[database].command("explain", wanted, verbosity="executionStats")
            assert "'indexName': 'queue_key'" in str(explained["queryPlanner"]["winningPlan"])
            assert explained["executionStats"]["totalKeysExamined"] <= found
    await real.close()


async def test_an_answer_that_overtakes_the_note_of_its_release_stays_in_the_queue(
    store: Any, parts: Any, decided: Any, make: Any
) -> None:
    complaint, why = decided()
    await store.add([(complaint, why)])
    due = make.NOON + timedelta(seconds=60)
    await store.claim(complaint.id, "salma", make.NOON, due)
    asked = routing.settle(complaint, Settlement("ask", question="place"), parts.rows, make.NOON)
    resting = routing.with_decision(complaint, asked, new_id(), None, due, "salma")
    assert await store.settle(resting, 1, "salma", due)
    assert await store.page(None, 5) == []
    await store.answered([(complaint.id, "e1", due)])
    await store.released([resting])
    [item] = await store.page(None, 5)
    assert (item.complaint.id, item.release_at) == (complaint.id, None)
    assert await store.due(due) == []


async def test_what_rests_when_it_is_withdrawn_is_still_found_to_be_taken_back(
    store: Any, parts: Any, decided: Any, make: Any
) -> None:
    complaint, why = decided()
    await store.add([(complaint, why)])
    due = make.NOON + timedelta(seconds=60)
    await store.claim(complaint.id, "salma", make.NOON, due)
    asked = routing.settle(complaint, Settlement("ask", question="place"), parts.rows, make.NOON)
    await store.settle(routing.with_decision(complaint, asked, new_id(), None, due, "salma"), 1, "salma", due)
    await store.withdraw([complaint.id])
    [found] = await store.due(due)
    assert found.withdrawn
    assert await store.take_back(routing.without_last(found), 2, make.NOON)
    assert await store.due(due) == []
    assert await store.page(None, 5) == []
    assert (await store.item(complaint.id)).status == "withdrawn"
