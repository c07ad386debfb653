"""One suite for the stores in memory and on the real server; what only the real one has comes last."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from chikaya_intake.adapters.gridfs import GridAttachments
from chikaya_intake.adapters.mongo import MongoComplaints
from chikaya_intake.channels import key_hash
from chikaya_intake.domain.acceptance import Complaint, Filing, Secrets, Sender, accept
from chikaya_intake.domain.attachments import Links
from chikaya_intake.stores import Channel
from pymongo.errors import BulkWriteError

MakesFiling = Callable[..., Filing]
SECRETS = Secrets(b"a" * 32, b"v" * 32, Links(b"l" * 32, "http://intake.test"))


def complaint(filing: Filing, number: int = 1) -> Complaint:
    return accept(
        filing,
        complaint_id=f"c{number:04}",
        reference=f"2026{number:010}",
        attachments=(),
        accepted_at=filing.received_at + timedelta(seconds=number),
        secrets=SECRETS,
    )


async def all_waiting(complaints: Any, until: Any, at_once: int = 2) -> list[list[str]]:
    return [[one.id for one in batch] async for batch in complaints.waiting(until, at_once)]


async def test_a_complaint_comes_back_as_it_was(stores: Any, a_filing: MakesFiling) -> None:
    kept = complaint(a_filing(key="a b/é", traceparent="00-1-2-01", text="نص بالعربية"))
    assert await stores[0].add([kept]) == set()
    assert await stores[0].sent_by({kept.sender}) == {kept.sender: kept}
    assert await stores[0].sent_by({Sender("kiosk", "a b/é")}) == {}
    assert await stores[0].add([]) == set()


async def test_a_sender_has_one_complaint(stores: Any, a_filing: MakesFiling) -> None:
    first, second, other, keyless = (
        complaint(a_filing(key=key), number) for number, key in enumerate(("k", "k", "k2", None), 1)
    )
    assert await stores[0].add([first]) == set()
    assert await stores[0].add([second, other, keyless]) == {second.id}
    assert await stores[0].sent_by({first.sender, other.sender}) == {first.sender: first, other.sender: other}


async def test_what_waits_is_given_oldest_first_until_it_is_relayed(
    stores: Any, memory: Any, a_filing: MakesFiling
) -> None:
    complaints = stores[0]
    await complaints.add([complaint(a_filing(), number) for number in (3, 1, 2, 5, 4)])
    at = memory.NOON
    assert await all_waiting(complaints, at + timedelta(seconds=4)) == [["c0001", "c0002"], ["c0003", "c0004"]]
    await complaints.relayed(["c0001", "c0003"], at + timedelta(days=7))
    assert await all_waiting(complaints, at + timedelta(minutes=1)) == [["c0002", "c0004"], ["c0005"]]
    assert await complaints.count_waiting(at + timedelta(seconds=2)) == 1
    assert await complaints.count_waiting(at) == 0


async def test_leases_never_overlap(stores: Any) -> None:
    firsts = await asyncio.gather(*(stores[0].lease(2026, 10) for _ in range(20)))
    assert sorted(firsts) == list(range(1, 201, 10))
    assert await stores[0].lease(2027, 1) == 1


async def test_a_file_is_read_as_it_was_written(stores: Any, memory: Any, pieces: Any) -> None:
    attachments = stores[1]
    content = (b"%PDF-1.7\n", b"x" * 600_000, b"end")
    about = await attachments.save("f", "portal", "é.pdf", "application/pdf", pieces(*content), memory.NOON)
    assert about.size == 600_012
    assert await attachments.find("f") == (about, "portal")
    assert await attachments.find("g") is None
    assert b"".join([piece async for piece in attachments.read("f")]) == b"".join(content)


async def test_a_file_that_breaks_off_is_not_kept(stores: Any, memory: Any, pieces: Any) -> None:
    content = pieces(b"%PDF-1.7\n" + b"x" * 300_000, RuntimeError("gone"))
    with pytest.raises(RuntimeError, match="gone"):
        await stores[1].save("f", "portal", "a.pdf", "application/pdf", content, memory.NOON)
    assert await stores[1].find("f") is None
    assert await stores[1].loose(memory.NOON) == []


async def test_a_file_is_loose_until_it_is_settled(stores: Any, memory: Any, pieces: Any) -> None:
    attachments, at = stores[1], memory.NOON
    for id_ in ("f", "g"):
        await attachments.save(id_, "portal", "a.pdf", "application/pdf", pieces(b"%PDF-1.7"), at)
    assert sorted(await attachments.loose(at)) == ["f", "g"]
    assert await attachments.loose(at - timedelta(seconds=1)) == []
    assert len(await attachments.claim("portal", ["f"], "x", at - timedelta(hours=24))) == 1
    assert len(await attachments.loose(at)) == 2
    await attachments.settle("c", ["f"])
    assert await attachments.loose(at) == ["g"]
    await attachments.remove("g")
    await attachments.remove("g")
    assert await attachments.find("g") is None
    assert await attachments.claim("portal", ["f"], "y", at - timedelta(hours=24)) == []


async def test_a_file_can_be_claimed_for_a_time_only(stores: Any, memory: Any, pieces: Any) -> None:
    await stores[1].save("f", "portal", "a.pdf", "application/pdf", pieces(b"%PDF-1.7"), memory.NOON)
    assert await stores[1].claim("portal", ["f"], "x", memory.NOON) == []


async def test_a_channel_has_one_key(stores: Any, memory: Any) -> None:
    channels = stores[2]
    await channels.add(Channel("portal", key_hash("first"), memory.NOON))
    second = Channel("portal", key_hash("second"), memory.NOON)
    kiosk = Channel("kiosk", key_hash("third"), memory.NOON)
    await channels.add(second)
    await channels.add(kiosk)
    assert await channels.all() == [kiosk, second]
    assert await channels.revoke("kiosk")
    assert not await channels.revoke("kiosk")
    assert await channels.all() == [second]


async def test_no_reference_is_kept_twice(database: Any, a_filing: MakesFiling) -> None:
    """Should the counter be lost, intake stops: it does not give a citizen another's reference."""
    complaints = MongoComplaints(database)
    await complaints.add([complaint(a_filing())])
    with pytest.raises(BulkWriteError):
        await complaints.add([replace(complaint(a_filing()), id="another")])


async def test_only_what_is_relayed_expires(database: Any, memory: Any, a_filing: MakesFiling) -> None:
    complaints = MongoComplaints(database)
    await complaints.add([complaint(a_filing(), number) for number in (1, 2)])
    await complaints.relayed(["c0001"], memory.NOON)
    indexes = await database["complaints"].index_information()
    assert indexes["forget"]["expireAfterSeconds"] == 0
    rows = {row["_id"]: row async for row in database["complaints"].find()}
    assert rows["c0001"]["forget_at"] == memory.NOON
    assert "forget_at" not in rows["c0002"]


async def test_an_upload_that_a_crash_cut_off_is_removed(database: Any, memory: Any, pieces: Any) -> None:
    attachments = GridAttachments(database)
    content = pieces(b"%PDF-1.7\n" + b"x" * 600_000)
    await attachments.save("whole", "portal", "a.pdf", "application/pdf", content, memory.NOON)
    await database["uploads"].insert_many([{"_id": id_, "begun": memory.NOON} for id_ in ("cut", "whole")])
    await database["attachments.chunks"].insert_one({"files_id": "cut", "n": 0, "data": b"x"})
    await attachments.remove_unfinished(memory.NOON - timedelta(seconds=1))
    assert await database["uploads"].count_documents({}) == 2
    await attachments.remove_unfinished(memory.NOON)
    assert await database["uploads"].count_documents({}) == 0
    assert await database["attachments.chunks"].distinct("files_id") == ["whole"]
    await attachments.remove("whole")
    assert await database["attachments.chunks"].count_documents({}) == 0
