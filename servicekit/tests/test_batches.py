"""When dead letters are an outage, and when not."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message, encode
from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.requests import ComplaintSupplemented
from chikaya_servicekit.batches import IN_A_ROW, OF_THE_LATEST, SHARE, Batches, Limit
from chikaya_servicekit.faults import DeadLettersExceeded
from chikaya_servicekit.letters import Letters
from hypothesis import given
from hypothesis import strategies as st


def test_so_many_in_a_row_are_an_outage() -> None:
    limit = Limit()
    assert [bool(limit.failed()) for _ in range(IN_A_ROW)] == [False] * (IN_A_ROW - 1) + [True]


def test_one_success_between_breaks_the_row() -> None:
    limit = Limit()
    for _ in range(IN_A_ROW - 1):
        limit.failed()
    limit.passed(1)
    assert limit.failed() == ""


def test_too_large_a_share_is_an_outage_even_with_successes_between() -> None:
    limit, failed = Limit(), 0
    for number in range(OF_THE_LATEST):
        if number % 5:
            limit.passed(1)
        elif limit.failed():
            failed = number
            break
    assert OF_THE_LATEST / 5 <= failed < OF_THE_LATEST / 2


@given(st.integers(1, 5), st.integers(200, 3_000))
def test_a_small_share_is_none_however_long_it_lasts(failing: int, records: int) -> None:
    limit = Limit()
    for number in range(records):
        if number % 100 < failing and failing / 100 < SHARE:
            assert limit.failed() == ""
        else:
            limit.passed(1)


def test_what_was_long_ago_counts_less() -> None:
    limit = Limit()
    limit.passed(10 * OF_THE_LATEST)
    said = ""
    for number in range(4 * OF_THE_LATEST):
        if number % 2:
            limit.passed(1)
        elif said := limit.failed():
            break
    assert "of the latest" in said


NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Broker:
    """Takes dead letters."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send_raw(self, records: Sequence[Any]) -> list[int]:
        self.sent += records
        return list(range(len(self.sent) - len(records), len(self.sent)))


def record(offset: int, good: bool) -> ConsumerRecord:
    data = ComplaintSupplemented(complaint_id=f"c{offset}", at=NOW, text="…")
    topic, key, value, headers = encode(Event(new_id(), "/tests", NOW, data, topics.SUPPLEMENTS.name))
    return ConsumerRecord(topic, 0, offset, 0, 0, key, value if good else b"no JSON", None, len(key), 9, headers)


async def work(good: Sequence[bool]) -> tuple[Broker, list[str]]:
    """One batch of records that can, and cannot, be decoded; what was set aside, and what was handled."""
    broker, done = Broker(), list[str]()

    async def handle(batch: Sequence[Event[Message]]) -> None:
        done.extend(event.data.key for event in batch)

    letters = Letters("routing", {})
    consumer = Batches("tests", [topics.SUPPLEMENTS], handle, "routing", broker, letters, lambda: NOW, ())  # type: ignore[arg-type]
    await consumer.process([record(offset, one) for offset, one in enumerate(good)], lambda _: None)
    return broker, done


async def test_bad_records_among_good_ones_stop_nobody() -> None:
    broker, done = await work([True, False] * (2 * IN_A_ROW))
    assert (len(broker.sent), len(done)) == (2 * IN_A_ROW, 2 * IN_A_ROW)


async def test_so_many_bad_ones_on_end_stop_the_consumer_when_all_are_set_aside() -> None:
    with pytest.raises(DeadLettersExceeded, match=f"{IN_A_ROW} records in a row failed on complaints.supplements"):
        await work([True] + [False] * IN_A_ROW + [True])
