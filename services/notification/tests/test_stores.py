"""One suite for the stores in memory and on a real server."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from chikaya_notification.domain import delivery
from chikaya_notification.domain.notices import Contact, Facts, Notice, Told
from chikaya_notification.domain.wording import Name
from chikaya_notification.stores import Administrations, Known, Notices

NOW = datetime.fromisoformat("2026-03-02T10:00:00+00:00")
LEASE = timedelta(minutes=5)


def one(id: str, **changes: Any) -> Notice:
    facts = Facts(NOW, "routed", administration="cnss", answer_due=NOW + timedelta(days=60), again=True)
    return replace(Notice(id, "c1", "r", "e1", "relayed", "email", facts, "pending", NOW, "fr"), **changes)


async def test_contact_and_history_are_kept_apart_and_found_together(notices: Notices) -> None:
    told = Told(3, "suggestion", NOW, NOW + timedelta(days=60), 2)
    contact = Contact("ar", phone="+212612345678")
    assert await notices.known(["c1"]) == {}
    await notices.remember({"c1": told})
    assert await notices.known(["c1"]) == {"c1": Known(None, told)}
    await notices.keep_contacts({"c1": contact, "c2": contact})
    assert await notices.known(["c1", "c2", "c3"]) == {"c1": Known(contact, told), "c2": Known(contact)}
    await notices.keep_contacts({})
    await notices.remember({})
    assert await notices.known([]) == {}


async def test_a_notice_is_read_as_it_was_written_and_a_repeat_changes_nothing(notices: Notices) -> None:
    first, second = one("n1", traceparent="00-a-b-01"), one("n2", by="sms", state="waiting", language=None)
    await notices.add([first, second])
    await notices.add([one("n1", state="failed"), one("n3", notice="answer")])
    await notices.add([])
    assert {notice.id: notice for notice in await notices.of("c1")} == {
        "n1": first,
        "n2": second,
        "n3": one("n3", notice="answer"),
    }
    assert await notices.of("c2") == []


async def test_waiting_notices_are_addressed_once(notices: Notices) -> None:
    waiting = [one("n1", state="waiting", language=None), one("n2", complaint_id="c2", state="waiting", language=None)]
    await notices.add([*waiting, one("n3")])
    assert {notice.id for notice in await notices.waiting(["c1", "c2"])} == {"n1", "n2"}
    await notices.address([one("n1", language="ar")])
    await notices.address([one("n1", language="fr"), one("n3", language="ar")])
    assert {notice.id: notice.language for notice in await notices.of("c1")} == {"n1": "ar", "n3": "fr"}
    assert [notice.id for notice in await notices.waiting(["c1", "c2"])] == ["n2"]
    assert await notices.waiting([]) == []


async def claim(notices: Notices, now: datetime, at_most: int) -> list[Notice]:
    return await notices.claim(await notices.due("email", now, at_most), now, LEASE)


async def test_what_is_due_is_claimed_oldest_first_and_by_nobody_else_while_the_lease_runs(notices: Notices) -> None:
    await notices.add([one(f"n{number}", due=NOW - timedelta(minutes=number)) for number in range(5)])
    await notices.add([one("later", due=NOW + timedelta(minutes=1)), one("sms", by="sms"), one("w", state="waiting")])
    assert await notices.due("email", NOW, 2) == ["n4", "n3"]
    first = await claim(notices, NOW, 2)
    assert [notice.id for notice in first] == ["n4", "n3"]
    assert {notice.due for notice in first} == {NOW + LEASE}
    assert await notices.claim(["n4", "later", "w"], NOW, LEASE) == []
    assert [notice.id for notice in await claim(notices, NOW, 9)] == ["n2", "n1", "n0"]
    assert await claim(notices, NOW, 9) == []
    assert len(await claim(notices, NOW + LEASE, 9)) == 6


async def test_of_several_that_claim_at_once_each_notice_goes_to_one(notices: Notices) -> None:
    await notices.add([one(f"n{number}") for number in range(60)])
    ids = await notices.due("email", NOW, 99)
    claims = await asyncio.gather(*(notices.claim(ids, NOW, LEASE) for _ in range(6)))
    assert sorted(notice.id for claimed in claims for notice in claimed) == sorted(ids)


async def test_the_first_end_of_a_notice_is_its_only_one(notices: Notices) -> None:
    await notices.add([one("n1")])
    [claimed] = await claim(notices, NOW, 1)
    tried = delivery.deferred(claimed, "451", NOW)
    assert await notices.end_try(tried)
    assert await notices.of("c1") == [tried]
    assert await notices.end_try(delivery.sent(tried, NOW))
    assert not await notices.end_try(delivery.refused(tried, "550", NOW))
    [ended] = await notices.of("c1")
    assert (ended.state, ended.attempts, ended.ended_at) == ("sent", 2, NOW)
    assert await claim(notices, NOW + timedelta(days=1), 9) == []


async def test_released_notices_are_due_again(notices: Notices) -> None:
    await notices.add([one("n1"), one("n2")])
    first, second = await claim(notices, NOW, 2)
    await notices.end_try(delivery.sent(first, NOW))
    await notices.release([first, second], NOW)
    await notices.release([], NOW)
    [again] = await claim(notices, NOW + timedelta(minutes=1), 9)
    assert again.id == second.id
    await notices.release([second], NOW)
    assert await claim(notices, NOW + timedelta(minutes=1), 9) == [], "somebody else's claim"


async def test_an_ended_notice_is_unpublished_until_it_is_said(notices: Notices) -> None:
    await notices.add([one("n1"), one("n2", state="skipped", ended_at=NOW, reason="no-address"), one("n3")])
    [*claimed] = await claim(notices, NOW, 2)
    await notices.end_try(delivery.sent(claimed[0], NOW + timedelta(seconds=1)))
    assert [notice.id for notice in await notices.unpublished(NOW, 9)] == ["n2"]
    later = await notices.unpublished(NOW + timedelta(seconds=1), 9)
    assert {notice.id for notice in later} == {"n2", claimed[0].id}
    assert len(await notices.unpublished(NOW + timedelta(seconds=1), 1)) == 1
    await notices.published([notice.id for notice in later])
    await notices.published([])
    assert await notices.unpublished(NOW + timedelta(days=1), 9) == []


async def test_a_skipped_notice_that_waited_is_unpublished_too(notices: Notices) -> None:
    await notices.add([one("n1", state="waiting", language=None)])
    await notices.address([one("n1", state="skipped", ended_at=NOW, reason="no-address")])
    assert [notice.id for notice in await notices.unpublished(NOW, 9)] == ["n1"]


@pytest.mark.parametrize("later", [Name("CNSS", "الصندوق"), Name("Caisse", "الصندوق الوطني")])
async def test_the_catalogue_names_administrations(administrations: Administrations, later: Name) -> None:
    await administrations.keep({"cnss": Name("CNSS", "الصندوق"), "onee": Name("ONEE", "المكتب")})
    await administrations.keep({"cnss": later})
    await administrations.keep({})
    assert await administrations.named(["cnss", "habous"]) == {"cnss": later}
    assert await administrations.named([]) == {}
