"""Pages of lists: every row once and in order, and no more read than a page needs."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from chikaya_servicekit.paging import SPAN, Pages, key
from hypothesis import given
from hypothesis import strategies as st

ROWS_READ_FOR_A_PAGE = 12 * SPAN


class Index:
    """Rows of several lists in one index; counts what is read of it."""

    def __init__(self, **lists: Sequence[str]) -> None:
        self.rows = [{"at": key(name, order, order)} for name, orders in lists.items() for order in orders]
        self.queries = self.read_rows = 0

    async def read(self, low: str, high: str) -> list[dict[str, Any]]:
        found = [row for row in self.rows if low < row["at"] < high]
        self.queries, self.read_rows = self.queries + 1, self.read_rows + len(found)
        random.shuffle(found)
        return found


async def walked(index: Index, name: str, size: int, descending: bool) -> list[str]:
    pages, seen = Pages("at", name, index.read), list[str]()
    while page := await pages.page(seen[-1] if seen else None, size, descending=descending):
        assert len(page) <= size
        seen += [pages.order(row) for row in page]
    return seen


@pytest.mark.parametrize("descending", [False, True])
@given(numbers=st.sets(st.integers(0, 10**6), max_size=300), size=st.integers(1, 120))
async def test_pages_give_every_row_once_in_order(descending: bool, numbers: set[int], size: int) -> None:
    orders = [f"{number:07}" for number in numbers]
    index = Index(mine=orders, another=["0000001", "0999999"], min=["0000002"])
    assert await walked(index, "mine", size, descending) == sorted(orders, reverse=descending)


@pytest.mark.parametrize("descending", [False, True])
async def test_a_page_of_a_long_list_reads_little_of_it(descending: bool) -> None:
    chance = random.Random(7)
    # Most of it in one moment, the rest over years: no window of time would do for both.
    orders = [f"2026-03-02T{number:08}" for number in range(30_000)]
    orders += [f"20{chance.randrange(10, 26)}-{number:010}" for number in range(10_000)]
    index = Index(mine=orders)
    pages, afters = Pages("at", "mine", index.read), [None, *chance.sample(orders, 12)]
    for after in afters:
        index.queries = index.read_rows = 0
        page = await pages.page(after, 25, descending=descending)
        beyond = [one for one in orders if after is None or (one < after if descending else one > after)]
        assert [pages.order(row) for row in page] == sorted(beyond, reverse=descending)[:25]
        assert index.read_rows < ROWS_READ_FOR_A_PAGE
        assert index.queries < 20


async def test_a_long_stretch_is_read_in_few_queries() -> None:
    index = Index(mine=[f"{number:07}" for number in range(40_000)])
    assert len(await Pages("at", "mine", index.read).page(None, 1_001)) == 1_001
    assert index.queries < 10
    assert index.read_rows < 1_001 + 3 * SPAN**2
