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
from chikaya_intake.stores import APART, NOTHING, Book, Channel, Waiting
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import monitoring

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


async def on_pages(complaints: Any, after: int, until: int, book: str = "b", at_once: int = 2) -> list[list[str]]:
    found = complaints.entries(book, after, until, at_once)
    return [[f"{page} {complaint.id}" for page, complaint in entries] async for entries in found]


async def test_a_complaint_comes_back_as_it_was(stores: Any, a_filing: MakesFiling) -> None:
    kept = complaint(a_filing(key="a b/é", traceparent="00-1-2-01", text="نص بالعربية"))
    keyless = complaint(a_filing(), 2)
    assert await stores[0].add([kept, keyless], "b", 1) == {}
    assert await stores[0].sent_by({kept.sender}) == {kept.sender: kept}
    assert await stores[0].sent_by({Sender("kiosk", "a b/é")}) == {}
    assert [entries async for entries in stores[0].entries("b", 0, 1, 5)] == [[(1, kept), (1, keyless)]]


async def test_a_sender_has_one_complaint(stores: Any, a_filing: MakesFiling) -> None:
    first, second, other, keyless = (
        complaint(a_filing(key=key), number) for number, key in enumerate(("k", "k", "k2", None), 1)
    )
    assert await stores[0].add([first], "b", 1) == {}
    assert await stores[0].add([second, other, keyless], "b", 2) == {second.id: "key"}
    assert await stores[0].sent_by({first.sender, other.sender}) == {first.sender: first, other.sender: other}
    assert await on_pages(stores[0], 1, 2) == [["2 c0003", "2 c0004"]]


async def test_many_keys_are_looked_up_at_once(stores: Any, a_filing: MakesFiling) -> None:
    kept = [complaint(a_filing(key=f"k{number}"), number) for number in range(1, 251)]
    assert await stores[0].add(kept, "b", 1) == {}
    assert await stores[0].sent_by({one.sender for one in kept}) == {one.sender: one for one in kept}


async def test_no_reference_is_kept_twice(stores: Any, a_filing: MakesFiling) -> None:
    """Should the counter be lost, nobody is given another's reference."""
    first, neighbour = complaint(a_filing()), complaint(a_filing(), 2)
    await stores[0].add([first], "b", 1)
    assert await stores[0].add([replace(first, id="another"), neighbour], "b", 2) == {"another": "reference"}
    assert await on_pages(stores[0], 1, 2) == [[f"2 {neighbour.id}"]]


async def test_complaints_lie_on_the_pages_of_their_book(stores: Any, a_filing: MakesFiling) -> None:
    complaints = stores[0]
    second, fourth = complaint(a_filing(), 2), complaint(a_filing(key="k"), 4)
    for one, page in ((complaint(a_filing()), 9), (second, 10), (complaint(a_filing(), 3), 10), (fourth, 100)):
        await complaints.add([one], "b", page)
    await complaints.add([complaint(a_filing(), 5)], "b", 101)
    await complaints.add([complaint(a_filing(), 6)], "b2", 50)
    assert await on_pages(complaints, 9, 100) == [["10 c0002", "10 c0003"], ["100 c0004"]]
    assert await on_pages(complaints, 0, 10**14, "b2") == [["50 c0006"]]
    assert await complaints.waiting("b", 9) == Waiting(4, 10, 101)
    assert await complaints.waiting("b", 101) == NOTHING
    await complaints.set_apart("b", 10, [second, fourth])
    assert await on_pages(complaints, 0, 100, at_once=9) == [["9 c0001", "10 c0003", "100 c0004"]]
    assert await on_pages(complaints, 0, 100, APART) == [["10 c0002"]]
    await complaints.forget("b", 10)
    assert await complaints.waiting("b", 0) == Waiting(2, 100, 101)
    await complaints.forget(APART, 10)
    assert await complaints.waiting(APART, 0) == NOTHING
    assert await complaints.waiting("b2", 0) == Waiting(1, 50, 50)


async def test_more_is_forgotten_than_one_command_removes(stores: Any, a_filing: MakesFiling) -> None:
    await stores[0].add([complaint(a_filing(), number) for number in range(1, 700)], "b", 1)
    await stores[0].add([complaint(a_filing(), number) for number in range(700, 1300)], "b", 2)
    await stores[0].add([complaint(a_filing(), 1300)], "b", 3)
    await stores[0].forget("b", 2)
    assert await on_pages(stores[0], 0, 3) == [["3 c1300"]]


async def test_a_mark_is_never_taken_back(stores: Any, memory: Any) -> None:
    complaints, at = stores[0], memory.NOON
    await complaints.live(Book("b1", 5, at))
    await complaints.live(Book("b0", 0, at))
    assert await complaints.books() == [Book("b0", 0, at), Book("b1", 5, at)]
    await complaints.live(Book("b1", 3, at + timedelta(seconds=1)))
    await complaints.mark("b1", 4)
    assert (await complaints.books())[1] == Book("b1", 5, at + timedelta(seconds=1))
    await complaints.mark("b1", 6)
    await complaints.remove_book("b0")
    assert await complaints.books() == [Book("b1", 6, at + timedelta(seconds=1))]


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


class Overheard(monitoring.CommandListener):
    """The filter of each question to a collection, `questions`, as they are asked."""

    def __init__(self) -> None:
        self.questions: list[tuple[str, dict[str, Any]]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command, name = event.command, event.command_name
        filters = {
            "find": lambda: [command["filter"]],
            "aggregate": lambda: [command["pipeline"][0]["$match"]],
            "update": lambda: [one["q"] for one in command["updates"]],
            "delete": lambda: [one["q"] for one in command["deletes"]],
        }
        self.questions += [(command[name], asked) for asked in filters.get(name, list)()]

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to be heard."""

    failed = succeeded  # type: ignore[assignment]


async def test_the_cost_of_a_question_follows_its_answer(
    database: Any, mongo_uri: str, memory: Any, a_filing: MakesFiling
) -> None:
    """Whatever is asked of the complaints is a range of an index, or names ids: other books and pages cost nothing."""
    quiet = MongoComplaints(database)
    for book in ("a", "c"):
        first = 1 if book == "a" else 301
        await quiet.add([complaint(a_filing(), number) for number in range(first, first + 300)], book, 5)
    overheard = Overheard()
    client: Any = AsyncIOMotorClient(mongo_uri, event_listeners=[overheard])
    complaints = MongoComplaints(client[database.name])
    keyed = complaint(a_filing(key="k"), 900)
    await complaints.add([keyed, complaint(a_filing(), 901)], "b", 7)
    await complaints.sent_by({keyed.sender, Sender("portal", "unknown")})
    await complaints.accompanied(["file"])
    await complaints.waiting("b", 0)
    await on_pages(complaints, 0, 7)
    await complaints.set_apart("b", 7, [keyed])
    await complaints.forget("b", 8)
    await complaints.forget(APART, 6)
    client.close()
    questions = [asked for collection, asked in overheard.questions if collection == "complaints"]
    assert len(questions) >= 7
    await quiet.add([complaint(a_filing(key="k"), 900), complaint(a_filing(), 901)], "b", 7)
    for asked in questions:
        # What else is said beside an id picks no index; the local server's explain takes it for a scan all the same.
        named = {"_id": asked["_id"]} if isinstance(asked.get("_id"), str) else asked
        explained = await database.command(
            "explain", {"find": "complaints", "filter": named}, verbosity="executionStats"
        )
        examined = explained["executionStats"]
        looked_at = max(examined["totalKeysExamined"], examined["totalDocsExamined"])
        assert looked_at <= examined["nReturned"] + 2, (asked, examined)


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
