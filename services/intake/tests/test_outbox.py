"""The outbox: nothing accepted is ever not published, whatever stops in between."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from chikaya_intake.domain.acceptance import Complaint, Filing
from chikaya_intake.domain.attachments import Links
from chikaya_intake.outbox import FORGOTTEN_AFTER, FRESH_AT_MOST, Outbox
from chikaya_servicekit.faults import DependencyDown
from hypothesis import given
from hypothesis import strategies as st

MakesFiling = Callable[..., Filing]
AWAY = DependencyDown("Kafka is away")


async def accepted(parts: Any, a_filing: MakesFiling, count: int = 1, **changes: Any) -> list[Complaint]:
    return [
        one for one in await parts.reception.accept_many([a_filing(**changes)] * count) if isinstance(one, Complaint)
    ]


def published(parts: Any) -> list[str]:
    return [event.data.complaint_id for event in parts.publisher.events]


async def test_what_is_offered_is_published_at_once_and_marked(parts: Any, a_filing: MakesFiling) -> None:
    running = asyncio.create_task(parts.outbox.run())
    complaints = await accepted(parts, a_filing, 3)
    parts.outbox.offer(complaints)
    async with asyncio.timeout(2):
        while parts.complaints.wait:
            await asyncio.sleep(0)
    running.cancel()
    assert published(parts) == [one.id for one in complaints]
    assert parts.publisher.events[0] == complaints[0].event
    assert set(parts.complaints.forget_at) == set(published(parts))
    assert min(parts.complaints.forget_at.values()) > parts.clock.now + FORGOTTEN_AFTER - timedelta(minutes=1)


async def test_while_kafka_is_away_all_wait_and_then_go_in_order(parts: Any, a_filing: MakesFiling) -> None:
    parts.publisher.fail = AWAY
    complaints = [one for _ in range(3) for one in await accepted(parts, a_filing)]
    parts.outbox.offer(complaints)
    with pytest.raises(DependencyDown):
        await parts.outbox.run()
    assert parts.outbox.note() == "3 accepted complaints wait for Kafka"
    parts.publisher.fail = None
    await parts.outbox.relay_from_store(timedelta())
    assert published(parts) == [one.id for one in complaints]
    assert parts.outbox.note() == ""


async def test_what_another_process_left_behind_is_relayed_once_it_is_old(parts: Any, a_filing: MakesFiling) -> None:
    complaints = await accepted(parts, a_filing)
    await parts.outbox.relay_from_store(timedelta(seconds=15))
    assert published(parts) == []
    parts.clock.now += timedelta(seconds=16)
    await parts.outbox.relay_from_store(timedelta(seconds=15))
    assert published(parts) == [complaints[0].id]


async def test_a_crash_before_the_mark_publishes_again_with_the_same_id(parts: Any, a_filing: MakesFiling) -> None:
    (complaint,) = await accepted(parts, a_filing)
    parts.complaints.away = True
    with pytest.raises(DependencyDown):
        await parts.outbox.relay([complaint])
    parts.complaints.away = False
    await Outbox(parts.complaints, parts.attachments, parts.publisher, parts.clock).relay_from_store(timedelta())
    assert [event.id for event in parts.publisher.events] == [complaint.event.id] * 2


async def test_memory_is_bounded_and_the_store_has_the_rest(parts: Any, a_filing: MakesFiling) -> None:
    (complaint,) = await accepted(parts, a_filing)
    many = [SimpleNamespace(id=str(number)) for number in range(FRESH_AT_MOST)]
    parts.outbox.offer(many)
    parts.outbox.offer([complaint])
    assert len(parts.outbox._fresh) == FRESH_AT_MOST
    await parts.outbox.relay_from_store(timedelta())
    assert published(parts) == [complaint.id]


async def test_the_attachments_are_settled_before_the_complaint_may_be_forgotten(
    parts: Any, a_filing: MakesFiling, pieces: Any, memory: Any
) -> None:
    await parts.attachments.save("f", "portal", "a.pdf", "application/pdf", pieces(b"%PDF"), memory.NOON)
    (complaint,) = await accepted(parts, a_filing, attachments=["f"])
    parts.complaints.away = True
    with pytest.raises(DependencyDown):
        await parts.outbox.relay([complaint])
    assert parts.attachments.files["f"].complaint_id == complaint.id
    assert parts.complaints.forget_at == {}


@given(st.lists(st.sampled_from(["accept", "kafka away", "kafka back", "relay", "crash", "crash before mark"])))
def test_everything_accepted_is_published_in_the_end(memory: Any, a_filing: MakesFiling, steps: list[str]) -> None:
    async def history() -> tuple[set[str], list[str]]:
        from chikaya_intake.domain.acceptance import Secrets
        from chikaya_intake.reception import Reception
        from chikaya_servicekit.testing import RecordingPublisher

        complaints, files, clock, publisher = (
            memory.Complaints(), memory.Attachments(), memory.Time(), RecordingPublisher(),
        )  # fmt: skip
        reception = Reception(
            complaints, files, Secrets(b"a" * 32, b"v" * 32, Links(b"l" * 32, "http://intake.test")), clock, 5
        )
        outbox = Outbox(complaints, files, publisher, clock)
        for step in [*steps, "kafka back", "relay"]:
            if step == "accept":
                outcome = await reception.accept(a_filing())
                assert isinstance(outcome, Complaint)
                outbox.offer([outcome])
            elif step in ("kafka away", "kafka back"):
                publisher.fail = AWAY if step == "kafka away" else None
            elif step == "relay":
                try:
                    await outbox.relay_from_store(timedelta())
                except DependencyDown:
                    assert publisher.fail
            else:
                if step == "crash before mark" and not publisher.fail:
                    await publisher.publish([complaints.kept[id_].event for id_ in sorted(complaints.wait)])
                outbox = Outbox(complaints, files, publisher, clock)
        assert not complaints.wait
        return set(complaints.kept), [event.data.complaint_id for event in publisher.events]

    kept, sent = asyncio.run(history())
    assert set(sent) == kept
    assert [*dict.fromkeys(sent)] == sorted(kept)
