"""Reference numbers: never given twice, whatever crashes."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from chikaya_contracts import reference
from chikaya_intake.domain.references import Block, year_of
from chikaya_intake.reception import References
from chikaya_servicekit.faults import DependencyDown
from hypothesis import given
from hypothesis import strategies as st

PROCESSES = 3
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, PROCESSES - 1), st.integers(0, 25)),
        st.tuples(st.just("crash"), st.integers(0, PROCESSES - 1), st.just(0)),
        st.tuples(st.just("lease lost"), st.integers(0, PROCESSES - 1), st.integers(1, 25)),
    ),
    max_size=30,
)


def test_a_block_gives_its_numbers_in_order_and_then_none() -> None:
    taken, rest = Block(2026, 98, 101).take(2)
    last, empty = rest.take(5)
    assert [reference.parse(one)[4:12] for one in (*taken, *last)] == ["00000098", "00000099", "00000100"]
    assert len(empty) == 0
    assert empty.take(1)[0] == []


def test_the_year_is_that_of_morocco() -> None:
    assert year_of(datetime(2026, 12, 31, 23, 30, tzinfo=UTC)) == 2027
    assert year_of(datetime(2026, 12, 31, 22, 30, tzinfo=UTC)) == 2026


@given(STEPS, st.integers(1, 12))
def test_no_reference_is_given_twice(memory: Any, steps: list[tuple[str, int, int]], block: int) -> None:
    """Processes share one counter, crash with their blocks half used, and lose the answers to leases."""

    async def history() -> list[str]:
        store, given_out = memory.Complaints(), []
        processes = [References(store, block) for _ in range(PROCESSES)]
        lease = store.lease

        async def lease_without_answer(year: int, count: int) -> int:
            await lease(year, count)
            raise DependencyDown("the answer is lost")

        for what, which, count in steps:
            if what == "crash":
                processes[which] = References(store, block)
                continue
            store.lease = lease_without_answer if what == "lease lost" else lease
            try:
                given_out += await processes[which].take(2026, count)
            except DependencyDown:
                assert what == "lease lost"
        return given_out

    given_out = asyncio.run(history())
    assert len(set(given_out)) == len(given_out)
    assert all(reference.parse(one) == one for one in given_out)


async def test_processes_that_lease_at_once_share_nothing(stores: Any) -> None:
    processes = [References(stores[0], 7) for _ in range(8)]
    taken = await asyncio.gather(*(process.take(2026, 5) for process in processes for _ in range(5)))
    numbers = [one for some in taken for one in some]
    assert len(numbers) == 200
    assert len(set(numbers)) == 200


async def test_each_year_begins_anew(memory: Any) -> None:
    references = References(memory.Complaints(), 10)
    assert (await references.take(2026, 1), await references.take(2027, 1)) == (
        [reference.make(2026, 1)],
        [reference.make(2027, 1)],
    )
    assert await references.take(2026, 1) == [reference.make(2026, 2)]


async def test_nothing_is_given_while_the_store_is_away(memory: Any) -> None:
    store = memory.Complaints()
    references = References(store, 10)
    store.away = True
    with pytest.raises(DependencyDown):
        await references.take(2026, 1)
    store.away = False
    assert await references.take(2026, 1) == [reference.make(2026, 1)]
