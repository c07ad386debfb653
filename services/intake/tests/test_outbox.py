"""The outbox: nothing accepted is ever not published, whatever stops in between, and no mark runs ahead of Kafka."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from chikaya_intake import outbox as module
from chikaya_intake.domain.acceptance import Complaint, Filing
from chikaya_intake.outbox import BOOK_KEPT_FOR, FORGOTTEN_AFTER, GONE_AFTER, IN_MEMORY_AT_MOST, LATE_AFTER, Outbox
from chikaya_servicekit.faults import DependencyDown
from hypothesis import given
from hypothesis import strategies as st

MakesFiling = Callable[..., Filing]
AWAY = DependencyDown("Kafka is away")


async def accepted(parts: Any, a_filing: MakesFiling, count: int = 1, **changes: Any) -> list[Complaint]:
    outcomes = await parts.reception.accept_many([a_filing(**changes)] * count)
    return [one for one in outcomes if isinstance(one, Complaint)]


def published(parts: Any) -> list[str]:
    return [event.data.complaint_id for event in parts.publisher.events]


def later(parts: Any) -> None:
    """So long that a process that has not been heard of since has ended."""
    parts.clock.now += GONE_AFTER + timedelta(seconds=1)


async def test_what_is_accepted_is_published_at_once_and_marked(parts: Any, a_filing: MakesFiling) -> None:
    running = asyncio.create_task(parts.outbox.relay_for_ever())
    complaints = await accepted(parts, a_filing, 3)
    async with asyncio.timeout(2):
        while len(published(parts)) < 3:
            await asyncio.sleep(0)
    assert parts.publisher.events[0] == complaints[0].event
    assert len(parts.complaints.unmarked()) == 3
    await parts.outbox.live()
    assert parts.complaints.unmarked() == set()
    running.cancel()


async def test_one_mark_is_for_many_and_none_is_made_when_nothing_has_moved(parts: Any, a_filing: MakesFiling) -> None:
    marks = 0
    real = parts.complaints.live

    async def counted(book: Any) -> None:
        nonlocal marks
        marks += 1
        await real(book)

    parts.complaints.live = counted
    for _ in range(20):
        await accepted(parts, a_filing)
        await parts.outbox.relay()
    assert marks == 1  # the book was opened
    await parts.outbox.live()
    await parts.outbox.live()
    assert marks == 2
    assert parts.complaints.unmarked() == set()


async def test_a_process_that_ends_in_order_leaves_nothing_to_repeat(parts: Any, a_filing: MakesFiling) -> None:
    running = asyncio.create_task(parts.outbox.relay_for_ever())
    await asyncio.sleep(0)
    await accepted(parts, a_filing, 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    later(parts)
    await parts.process()[0].recover()
    assert len(published(parts)) == 3


async def test_while_kafka_is_away_all_wait_and_then_go_in_order(parts: Any, a_filing: MakesFiling) -> None:
    parts.publisher.fail = AWAY
    complaints = [one for _ in range(3) for one in await accepted(parts, a_filing)]
    with pytest.raises(DependencyDown):
        await parts.outbox.relay()
    assert parts.outbox.note() == ""  # a moment is no outage
    parts.clock.now += LATE_AFTER + timedelta(seconds=35)
    assert parts.outbox.note() == "3 accepted complaints wait for Kafka, the oldest for 40 s"
    parts.publisher.fail = None
    await parts.outbox.relay()
    assert published(parts) == [one.id for one in complaints]
    assert parts.outbox.note() == ""


async def test_what_a_process_left_behind_is_relayed_once_it_is_not_heard_of(parts: Any, a_filing: MakesFiling) -> None:
    complaints = [one for _ in range(3) for one in await accepted(parts, a_filing)]
    other, _ = parts.process()
    await other.recover()
    assert published(parts) == []
    later(parts)
    await parts.outbox.live()
    await other.recover()
    assert published(parts) == []
    later(parts)
    await other.recover()
    assert published(parts) == [one.id for one in complaints]
    await other.recover()
    assert len(published(parts)) == 3
    assert parts.complaints.unmarked() == set()


async def test_what_was_left_behind_is_told_of_until_kafka_has_it(parts: Any, a_filing: MakesFiling) -> None:
    await accepted(parts, a_filing, 3)
    later(parts)
    parts.publisher.fail = AWAY
    other, _ = parts.process()
    with pytest.raises(DependencyDown):
        await other.recover()
    assert other.waiting().count == 3
    parts.publisher.fail = None
    await other.recover()
    assert other.waiting().count == 0


async def test_a_crash_before_the_mark_publishes_again_with_the_same_id(parts: Any, a_filing: MakesFiling) -> None:
    (complaint,) = await accepted(parts, a_filing)
    await parts.outbox.relay()
    later(parts)
    await parts.process()[0].recover()
    assert [event.id for event in parts.publisher.events] == [complaint.event.id] * 2


@pytest.mark.parametrize("written", ["before", "halfway", "after"])
async def test_a_write_in_doubt_ends_its_book_and_what_it_wrote_is_relayed(
    parts: Any, a_filing: MakesFiling, written: str
) -> None:
    first = await accepted(parts, a_filing, 2)
    parts.complaints.dies = {"add": written}
    with pytest.raises(DependencyDown):
        await accepted(parts, a_filing, 4)
    parts.complaints.dies = {}
    last = await accepted(parts, a_filing, 2)
    await parts.outbox.relay()
    await parts.outbox.live()
    assert published(parts) == [one.id for one in first + last]
    await parts.outbox.recover()
    await parts.outbox.recover()
    doubtful = {"before": 0, "halfway": 2, "after": 4}[written]
    assert len(published(parts)) == len(set(published(parts))) == 4 + doubtful
    assert set(published(parts)) == set(parts.complaints.kept)
    assert parts.complaints.unmarked() == set()


async def test_a_write_that_comes_after_all_hope_is_found(parts: Any, a_filing: MakesFiling) -> None:
    """A database that was stopped carries out what lies in its sockets when it goes on: no mark is past it by then."""
    (first,) = await accepted(parts, a_filing)
    parts.complaints.dies = {"add": "before"}
    with pytest.raises(DependencyDown):
        await accepted(parts, a_filing, key="k")
    parts.complaints.dies = {}
    book, page = parts.complaints.places[first.id]
    others = await accepted(parts, a_filing, 3)
    await parts.outbox.relay()
    await parts.outbox.recover()
    await parts.outbox.live()
    doubtful = Complaint(**{name: getattr(first, name) for name in first.__slots__} | {"id": "late", "key": "k"})
    parts.complaints.kept["late"], parts.complaints.places["late"] = doubtful, (book, page + 1)
    await parts.outbox.recover()
    assert [event.id for event in parts.publisher.events] == [one.event.id for one in [first, *others, doubtful]]
    await parts.outbox.recover()
    assert len(parts.publisher.events) == 5


async def test_the_rest_of_a_page_in_doubt_may_come_after_its_beginning_was_relayed(
    parts: Any, a_filing: MakesFiling
) -> None:
    written: list[tuple[list[Complaint], str, int]] = []
    add = parts.complaints.add

    async def heard(complaints: list[Complaint], book: str, page: int) -> Any:
        written.append((complaints, book, page))
        return await add(complaints, book, page)

    parts.complaints.add = heard
    parts.complaints.dies = {"add": "halfway"}
    with pytest.raises(DependencyDown):
        await accepted(parts, a_filing, 4)
    parts.complaints.dies = {}
    later(parts)
    other, _ = parts.process()
    await other.recover()
    ((complaints, book, page),) = written
    assert published(parts) == [one.id for one in complaints[:2]]
    for late in complaints[2:]:
        parts.complaints.kept[late.id], parts.complaints.places[late.id] = late, (book, page)
    await other.recover()
    assert published(parts) == [one.id for one in complaints]


async def test_what_is_certain_of_a_book_in_doubt_is_relayed_once(parts: Any, a_filing: MakesFiling) -> None:
    complaints = await accepted(parts, a_filing, 2)
    parts.complaints.dies = {"add": "after"}
    with pytest.raises(DependencyDown):
        await accepted(parts, a_filing, 2)
    parts.complaints.dies = {}
    await parts.outbox.recover()
    assert published(parts) == []
    await parts.outbox.relay()
    assert published(parts) == [one.id for one in complaints]
    await parts.outbox.recover()
    assert len(published(parts)) == len(set(published(parts))) == 4


async def test_a_living_process_taken_for_a_dead_one_loses_nothing(parts: Any, a_filing: MakesFiling) -> None:
    complaints = await accepted(parts, a_filing, 2)
    later(parts)
    other, _ = parts.process()
    await other.recover()
    complaints += await accepted(parts, a_filing, 2)
    later(parts)
    await other.recover()
    complaints += await accepted(parts, a_filing, 2)
    await parts.outbox.relay()
    await parts.outbox.live()
    later(parts)
    await other.recover()
    assert set(published(parts)) == {one.id for one in complaints}
    assert parts.complaints.unmarked() == set()


async def test_memory_is_bounded_and_the_store_has_the_rest(
    parts: Any, a_filing: MakesFiling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_MEMORY_AT_MOST", 10)
    monkeypatch.setattr(module, "AT_ONCE", 4)
    assert IN_MEMORY_AT_MOST > 10
    parts.publisher.fail = AWAY
    complaints = [one for _ in range(9) for one in await accepted(parts, a_filing, 3)]
    book = parts.outbox._book
    assert sum(len(page.complaints) for page in book.pages) == book.in_memory <= 10
    assert book.left_out
    later(parts)
    assert parts.outbox.waiting().count == 27
    assert parts.outbox.waiting().oldest == parts.complaints.places[complaints[0].id][1]
    parts.publisher.fail = None
    await parts.outbox.relay()
    assert list(dict.fromkeys(published(parts))) == [one.id for one in complaints]
    assert len(published(parts)) == 27
    assert parts.outbox.waiting().count == 0
    await accepted(parts, a_filing)
    assert book.waiting == 1


async def test_the_attachments_are_settled_before_the_complaint_may_be_forgotten(
    parts: Any, a_filing: MakesFiling, pieces: Any, memory: Any
) -> None:
    await parts.attachments.save("f", "portal", "a.pdf", "application/pdf", pieces(b"%PDF"), memory.NOON)
    (complaint,) = await accepted(parts, a_filing, attachments=["f"])
    await parts.outbox.relay()
    assert parts.attachments.files["f"].complaint_id == complaint.id
    assert parts.complaints.unmarked() == {complaint.id}


async def test_what_is_relayed_is_forgotten_after_its_time_and_nothing_before(
    parts: Any, a_filing: MakesFiling
) -> None:
    relayed = await accepted(parts, a_filing, 2)
    await parts.outbox.relay()
    await parts.outbox.live()
    waits = await accepted(parts, a_filing, 2)
    parts.clock.now += FORGOTTEN_AFTER - timedelta(seconds=1)
    await parts.outbox.forget()
    assert len(parts.complaints.kept) == 4
    parts.clock.now += timedelta(minutes=2)
    await parts.outbox.forget()
    assert set(parts.complaints.kept) == {one.id for one in waits}
    other, _ = parts.process()
    await other.recover()
    assert set(published(parts)) == {one.id for one in relayed + waits}
    await other.forget()
    assert parts.complaints.kept == {}


async def test_a_book_is_removed_when_it_is_long_empty(parts: Any, a_filing: MakesFiling) -> None:
    await accepted(parts, a_filing)
    parts.clock.now += BOOK_KEPT_FOR + timedelta(days=1)
    other, _ = parts.process()
    await other.forget()
    assert len(parts.complaints.listed) == 1
    await other.recover()
    parts.clock.now += timedelta(minutes=2)
    await other.forget()
    assert parts.complaints.listed == {}
    assert parts.complaints.kept == {}


POINTS = ("accept", "lost", "add", "halfway", "publish", "live", "mark", "set_apart", "recover", "kafka away", "pause")


@given(st.lists(st.tuples(st.sampled_from(POINTS), st.integers(0, 1)), max_size=25))
def test_everything_kept_is_published_wherever_two_processes_are_killed(
    memory: Any, a_filing: MakesFiling, steps: list[tuple[str, int]]
) -> None:
    """Each step is of one of two processes: it works, or is killed at one point of its work and begins anew."""

    async def history() -> tuple[Any, set[str]]:
        parts = memory.World()
        processes = [parts.process(), parts.process()]
        answered: set[str] = set()

        async def work(number: int) -> None:
            outbox, reception = processes[number]
            outcomes = await reception.accept_many([a_filing(), a_filing()])
            answered.update(outcome.id for outcome in outcomes)
            await outbox.relay()
            await outbox.live()

        async def killed(number: int, dies: dict[str, str], recovers: bool = False) -> None:
            parts.complaints.dies = dies
            with suppress(DependencyDown):
                await (processes[number][0].recover() if recovers else work(number))
            parts.complaints.dies = {}
            processes[number] = parts.process()

        for step, number in steps:
            if step == "accept":
                await work(number)
            elif step in ("lost", "add", "halfway"):
                await killed(number, {"add": {"lost": "after", "add": "before", "halfway": "halfway"}[step]})
            elif step == "live":
                await killed(number, {"live": "before"})
            elif step in ("mark", "set_apart"):
                later(parts)
                await killed(number, {step: "after" if len(answered) % 4 else "before"}, recovers=True)
            elif step in ("publish", "kafka away"):
                parts.publisher.fail = AWAY
                with pytest.raises(DependencyDown):
                    await work(number)
                parts.publisher.fail = None
                if step == "publish":
                    processes[number] = parts.process()
            elif step == "pause":
                later(parts)
            else:
                await processes[number][0].recover()
        later(parts)
        last: Outbox = parts.process()[0]
        await last.recover()
        return parts, answered

    parts, answered = asyncio.run(history())
    assert answered <= set(parts.complaints.kept) == set(published(parts))
    assert parts.complaints.unmarked() == set()
    ids: dict[str, set[str]] = {}
    for event in parts.publisher.events:
        ids.setdefault(event.data.complaint_id, set()).add(event.id)
    assert all(len(event_ids) == 1 for event_ids in ids.values())
