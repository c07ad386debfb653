"""What every store of tracking must do: the fakes and Mongo."""

import asyncio
from typing import Any

import pytest
from bson.errors import InvalidDocument
from chikaya_contracts.envelope import Event
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.notification import NoticeSent
from chikaya_tracking.adapters.cases import ReferenceTaken
from chikaya_tracking.adapters.inserts import Inserts
from chikaya_tracking.adapters.mongo import MongoCases
from chikaya_tracking.domain.case import Rules

RULES = Rules()


async def test_a_batch_is_taken_in_and_said(cases: Any, make: Any) -> None:
    said = await cases.transact([make.submitted(), make.routed(), make.supplement()], RULES)
    assert make.lifecycle([one for _, one in said]) == ["received", "routed", "supplemented"]
    assert make.follow_ups([one for _, one in said]) == [("onee", "supplemented")]


async def test_what_is_read_back_is_what_was_written(cases: Any, make: Any) -> None:
    causes = [
        make.submitted(),
        make.answer(at=2),
        make.routed(number=2),
        make.triaged(number=1),
        make.rate(at=7),
        make.reopen(),
        make.routed("cnss", number=9, at=9),
    ]
    await cases.transact(causes, RULES)
    kept = (await cases.load([make.complaint_id]))[make.complaint_id]
    made = make.file(*causes)
    assert (kept.case, kept.history, kept.applied, kept.parked) == (made.case, made.history, made.applied, made.parked)
    assert (kept.filing, dict(kept.texts), dict(kept.inboxes)) == (made.filing, dict(made.texts), dict(made.inboxes))
    assert len(kept.parked) == 1


async def test_a_repeat_writes_nothing_and_says_the_same(cases: Any, make: Any) -> None:
    batch = [make.submitted(), make.routed(), make.supplement()]
    first = await cases.transact(batch, RULES)
    version = (await cases.load([make.complaint_id]))[make.complaint_id].version
    assert await cases.transact(batch, RULES) == first
    assert (await cases.load([make.complaint_id]))[make.complaint_id].version == version


async def test_writers_who_race_lose_nothing(cases: Any, make: Any) -> None:
    """Two consumers, and several instances, may hold the same case at the same time."""
    await cases.transact([make.submitted(), make.routed()], RULES)
    added = [make.supplement(at=2 + n / 100, text=f"ajout {n}") for n in range(12)]
    others = [make.another(2).submitted(), make.another(3).submitted()]
    said = await asyncio.gather(*(cases.transact([one, *others], RULES) for one in added))
    file = (await cases.load([make.complaint_id]))[make.complaint_id]
    assert sorted(file.texts.values()) == sorted(f"ajout {n}" for n in range(12))
    assert [e.sequence for e in file.history] == list(range(1, 15))
    assert all("supplemented" in make.lifecycle([one for _, one in each]) for each in said)
    assert len({id for each in said for _, one in each if (id := one.id)}) == 12 * 2 + 2


async def test_one_reference_for_two_complaints_is_an_error_that_harms_no_other(cases: Any, make: Any) -> None:
    await cases.transact([make.submitted()], RULES)
    thief = make.another(2)
    with pytest.raises(ReferenceTaken):
        await cases.transact([thief.submitted(reference=make.reference), make.supplement()], RULES)
    assert await cases.load([thief.complaint_id]) == {}
    early = make.another(3)
    await cases.transact([early.routed()], RULES)
    with pytest.raises(ReferenceTaken):
        await cases.transact([early.submitted(reference=make.reference)], RULES)


async def test_a_case_is_found_by_its_reference(cases: Any, make: Any) -> None:
    await cases.transact([make.submitted(), make.another(2).submitted()], RULES)
    found = await cases.by_reference(make.another(2).reference)
    assert found.complaint_id == make.another(2).complaint_id
    assert await cases.by_reference("20269999999999") is None


async def test_cases_of_a_telephone_number_are_listed_by_key_newest_first(cases: Any, make: Any) -> None:
    people = [make.another(n) for n in range(1, 8)]
    await cases.transact([one.submitted(at=n // 2) for n, one in enumerate(people)], RULES)
    stranger = make.another(99)
    await cases.transact([stranger.submitted(contact={"name": "Omar Alami", "phone": "0699999999"})], RULES)
    seen, before = [], None
    for _ in range(4):
        page = await cases.by_phone("+212612345678", before, 2)
        seen += [row.complaint_id for row in page]
        before = (page[-1].received_at, page[-1].complaint_id)
    assert seen == [one.complaint_id for one in sorted(people, key=lambda p: p.complaint_id, reverse=True)]
    assert await cases.by_phone("+212612345678", before, 2) == []


async def test_due_cases_come_in_pages(cases: Any, make: Any) -> None:
    people = [make.another(n) for n in range(1, 6)]
    await cases.transact([one.submitted(at=n) for n, one in enumerate(people)], RULES)
    pages = [page async for page in cases.due(make.day(16.9), 2)]
    assert [[due.case.complaint_id for due in page] for page in pages] == [
        [people[0].complaint_id, people[1].complaint_id]
    ]
    pages = [page async for page in cases.due(make.day(30), 2)]
    assert [len(page) for page in pages] == [2, 2, 1]
    entries = [entry for page in pages for due in page for entry in due.entries]
    await cases.look_again({entries[0]: make.day(40), **dict.fromkeys(entries[1:])})
    assert [page async for page in cases.due(make.day(39), 2)] == []
    [[due]] = [page async for page in cases.due(make.day(41), 2)]
    assert (due.case.complaint_id, due.entries) == (people[0].complaint_id, (entries[0],))


async def test_a_sooner_alarm_is_an_entry_of_its_own(cases: Any, make: Any) -> None:
    await cases.transact([make.submitted(), make.routed()], RULES)
    await cases.transact([make.answer(at=2)], RULES)  # to be closed on day 32; the receipt told of day 15
    [[due]] = [page async for page in cases.due(make.day(40), 9)]
    assert (due.case.state, len(due.entries)) == ("answered", 1)
    await cases.look_again(dict.fromkeys(due.entries))
    await cases.transact([make.reopen(at=3)], RULES)
    assert [page async for page in cases.due(make.day(50), 9)] == []
    [[due]] = [page async for page in cases.due(make.day(70), 9)]
    assert due.case.state == "reopened"


async def test_what_is_parked_is_listed_oldest_first_until_it_is_let_in(cases: Any, make: Any) -> None:
    other = make.another(2)
    await cases.transact([make.answer(at=3), make.acknowledge(at=1), other.answer(at=2)], RULES)
    rows = await cases.parked("", 2)
    assert [(row.file.complaint_id, row.cause.time) for row in rows] == [
        (make.complaint_id, make.day(1)),
        (other.complaint_id, make.day(2)),
    ]
    [row] = await cases.parked(rows[-1].key, 2)
    assert row.cause.time == make.day(3)
    assert [await cases.count_parked(make.day(n)) for n in (1, 2, 4)] == [0, 1, 3]
    await cases.transact([make.submitted(), make.routed()], RULES)
    assert [row.file.complaint_id for row in await cases.parked("", 9)] == [other.complaint_id]


async def test_a_repeat_mends_the_list_of_what_is_parked(cases: Any, make: Any) -> None:
    """The process may die between the write of the case and that of the list."""
    early = make.answer()
    await cases.transact([early], RULES)
    [row] = await cases.parked("", 9)
    await cases.unlist([row.key])
    await cases.transact([early], RULES)
    assert await cases.parked("", 9) == [row]


async def test_what_is_forgotten_leaves_no_words(database: Any, make: Any) -> None:
    cases = MongoCases(database)
    await cases.transact([make.answer()], RULES)
    [row] = await cases.parked("", 9)
    await cases.forget(row.file, RULES)
    [row] = await cases.parked("", 9)
    assert (row.cause, row.file.parked) == (None, ())
    await cases.erase(row.file)
    assert "lampadaire" not in str([step async for step in database.db.steps.find({})])
    said = await cases.transact([make.submitted(), make.routed()], RULES)
    assert make.lifecycle([one for _, one in said]) == ["received", "routed"]


async def test_another_instance_writes_in_between(database: Any, make: Any) -> None:
    """What an instance remembers of a case may be out of date: what it decides on that is decided again."""
    here, there = MongoCases(database), MongoCases(database)
    await here.transact([make.submitted(), make.routed()], RULES)
    answer = make.answer(at=2)
    await there.transact([answer], RULES)
    said = await here.transact([make.rate(at=3)], RULES)
    assert make.lifecycle([one for _, one in said]) == ["rated"]
    await there.transact([make.reopen(at=4)], RULES)
    breach = make.clock("answer-breached", (await there.by_reference(make.reference)).case.answer_due, at=99)
    said = await here.transact([breach], RULES)
    assert make.lifecycle([one for _, one in said]) == ["deadline-breached"]
    said = await here.transact([answer], RULES)
    assert make.lifecycle([one for _, one in said]) == ["answered"]


async def test_a_long_history_is_read_back_whole(database: Any, make: Any) -> None:
    cases = MongoCases(database)
    await cases.transact([make.submitted(), make.routed()], RULES)
    for n in range(22):
        await cases.transact([make.supplement(at=2 + n / 100, text=f"ajout {n}")], RULES)
    file = (await MongoCases(database).load([make.complaint_id]))[make.complaint_id]
    assert (file.version, len(file.history), len(file.texts)) == (23, 24, 22)


async def test_outcomes_of_notices_are_kept_once(cases: Any, make: Any) -> None:
    sent = NoticeSent(
        complaint_id=make.complaint_id, event="e", notice="receipt", by="sms", language="ar", at=make.day(0), attempts=1
    )
    outcome = Event("outcome-1", "/notification", make.day(0), sent, NoticeSent.TOPIC.name)
    await cases.note([outcome, outcome])
    await cases.note([outcome])
    assert await cases.notices(make.complaint_id) == [sent]
    assert await cases.notices("another") == []


def listed(slug: Any, version: Any, own_system: Any = False) -> Any:
    return AdministrationListed(
        slug=slug, name_fr="Nom", name_ar="اسم", kind="ministry", own_system=own_system, version=version
    )


async def test_the_latest_row_of_the_catalogue_is_kept(administrations: Any) -> None:
    await administrations.keep([listed("onee", 1), listed("onee", 3, own_system=True), listed("habous", 1)])
    await administrations.keep([listed("onee", 2)])
    rows = {row.slug: row for row in await administrations.all()}
    assert rows["onee"] == listed("onee", 3, own_system=True)
    assert set(rows) == {"onee", "habous"}
    await administrations.keep([])


async def test_tries_are_counted(tries: Any, make: Any) -> None:
    await asyncio.gather(*(tries.add({"a": make.day(9999), "all": make.day(9999)}) for _ in range(5)))
    await tries.add({"all": make.day(9999)})
    assert await tries.counts(["a", "all", "b"]) == {"a": 5, "all": 6, "b": 0}


async def test_who_inserts_together_shares_a_command_and_no_fault(database: Any) -> None:
    inserts = Inserts(database.db.notices)
    await inserts.insert([{"_id": "a"}])
    first, *others = await asyncio.gather(
        inserts.insert([{"_id": "b"}]),
        inserts.insert([{"_id": "c"}, {"_id": "a"}, {"_id": "d"}]),
        inserts.insert([{"_id": "e", "what": object()}]),
        inserts.insert([{"_id": "b"}]),
        return_exceptions=True,
    )
    assert first == set()
    assert isinstance(others[1], InvalidDocument)
    # Those whose command failed for another's fault are sent anew: what was written already is "there already".
    assert 1 in others[0]
    assert others[2] == {0}
    assert {row["_id"] async for row in database.db.notices.find({})} == {"a", "b", "c", "d"}


async def test_every_query_is_bounded_by_an_index(database: Any, make: Any) -> None:
    await MongoCases(database).transact([make.submitted()], RULES)
    for collection, query in (
        ("steps", {"due": {"$gt": "", "$lt": "9"}}),
        ("references", {"phone": {"$gt": "+212612345678|", "$lt": "+212612345678|~"}}),
        ("parked", {"key": {"$gt": "", "$lt": "9"}}),
        ("notices", {"complaint": make.complaint_id}),
    ):
        plan = await database.db[collection].find(query).explain()
        assert "IXSCAN" in str(plan["queryPlanner"]["winningPlan"]), (collection, query)
