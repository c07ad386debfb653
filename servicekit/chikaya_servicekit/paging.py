"""Lists by pages whose cost follows the page and not the list, however the list's keys are spread.

The local database reads a whole index range before it sorts or limits, so that a page of 25 of a list of 100,000 takes
seconds; and how much time a page spans is not known beforehand. So a list is a skip list in one index: a row's key is
one text, `<list>|<level>|<order>`, and chance (the row's id) lifts one row in `SPAN` to level 1, one in `SPAN`² to
level 2, and so on. The rows of a level divide the list into ranges that hold about `SPAN` rows of the level below, and
a page reads those that it needs. The key is written with the row, in the same write: nothing is kept beside it that
could be wrong. Any other database serves the same queries as well.
"""

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

SPAN = 32
TOP = 3
"""The highest level: in a list of a million rows it has about 30."""
_BEHIND_ALL = "~"

Row = Mapping[str, Any]
Read = Callable[[str, str], Awaitable[Sequence[Row]]]
"""Rows whose key lies between two, both exclusive, in any order: one range of one index."""


def key(list_: str, order: str, id_: str) -> str:
    """The key of a row.

    Args:
        list_: the list's name.
        order: where the row stands in its list; ASCII without `~`, sorts as text, and is no other row's.
        id_: the row's id, which settles its level.
    """
    return f"{list_}|{_level(id_)}|{order}"


def _level(id_: str) -> int:
    chance, level = zlib.crc32(id_.encode()), 0
    while level < TOP and chance % SPAN == 0:
        chance, level = chance // SPAN, level + 1
    return level


class Pages:
    """The pages of one list.

    Args:
        field: the rows' field that holds the key.
        list_: the list's name, as in `key`.
        read: see `Read`; rows hold at least `field`.
    """

    def __init__(self, field: str, list_: str, read: Read) -> None:
        self._field, self._list, self._read = field, list_, read

    def order(self, row: Row) -> str:
        """Where the row stands in the list: what the next page comes after."""
        return str(row[self._field])[len(self._list) + 3 :]

    async def page(self, after: str | None, size: int, *, descending: bool = False) -> list[Row]:
        """At most `size` rows in order, from behind the one whose order is `after`."""
        low, high = ("", after or _BEHIND_ALL) if descending else (after or "", _BEHIND_ALL)
        found: list[Row] = []
        async for row in self._rows(TOP, low, high, descending, -(-size // SPAN)):
            found.append(row)
            if len(found) == size:
                break
        return found

    async def _rows(self, level: int, low: str, high: str, descending: bool, at_once: int) -> AsyncIterator[Row]:
        """All rows of `level` and below between two orders, in order, read as they are asked for; of the lowest level
        `at_once` ranges in one query."""
        marks = self._sorted(await self._of_level(level, low, high), descending)
        step, end_of_all = at_once if level == 1 else 1, low if descending else high
        for start in range(0, len(marks) + 1, step):
            some = marks[start : start + step]
            end = self.order(some[-1]) if len(some) == step else end_of_all
            within = (end, high) if descending else (low, end)
            if level == 1:
                for row in self._sorted([*some, *await self._of_level(0, *within)], descending):
                    yield row
            else:
                async for row in self._rows(level - 1, *within, descending, at_once):
                    yield row
                for row in some:
                    yield row
            low, high = (low, end) if descending else (end, high)

    async def _of_level(self, level: int, low: str, high: str) -> Sequence[Row]:
        return await self._read(f"{self._list}|{level}|{low}", f"{self._list}|{level}|{high}")

    def _sorted(self, rows: Iterable[Row], descending: bool) -> list[Row]:
        return sorted(rows, key=self.order, reverse=descending)
