"""What every store of tracking must do: the fakes and Mongo."""

import asyncio
from typing import Any

import pytest
from chikaya_contracts.envelope import Event
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.notification import NoticeSent
from chikaya_tracking.adapters.cases import ReferenceTaken
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
    await cases.transact([people[0].routed(), people[1].withdraw()], RULES)
    found = [[case.complaint_id for case in page] async for page in cases.due(make.day(30), 2)]
    assert found == [[people[2].complaint_id, people[3].complaint_id], [people[4].complaint_id]]


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


async def test_every_query_is_bounded_by_an_index(database: Any, make: Any) -> None:
    await MongoCases(database).transact([make.submitted()], RULES)
    collection = database.db.cases
    for query in ({"reference": make.reference}, {"phone": "+212612345678"}, {"next_due": {"$lte": make.day(99)}}):
        plan = await collection.find(query).explain()
        assert "IXSCAN" in str(plan["queryPlanner"]["winningPlan"]), query
