"""How many wrong access codes are borne: for each reference, and over all references together.

Counted in fixed windows of time, in the store, so that all instances share the count. The bound is the limit plus
the tries that are under way at once. An access code has 60 bits: at the limit over all, guessing one takes
longer than the decree will be in force.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Protocol

from chikaya_servicekit.clock import Clock
from chikaya_servicekit.http import Problem


class Tries(Protocol):
    """Where the counters are kept."""

    async def counts(self, keys: Sequence[str]) -> dict[str, int]:
        """The count of each key."""

    async def add(self, keys: Mapping[str, datetime]) -> None:
        """Adds one to each key; it may be forgotten after the time given."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` failures in `window`."""

    count: int
    window: timedelta


class FailedTries:
    """Refuses who guesses."""

    def __init__(self, kept: Tries, clock: Clock, each: Limit, all: Limit) -> None:
        self._kept, self._clock, self._each, self._all = kept, clock, each, all

    async def check(self, reference: str) -> None:
        """Before a code is looked at.

        Raises:
            Problem: 429, too many failures for this reference or over all.
        """
        keys = self._keys(reference)
        counts = await self._kept.counts([key for key, _, _ in keys])
        for key, limit, end in keys:
            if counts[key] >= limit.count:
                wait = max(1, ceil((end - self._clock()).total_seconds()))
                raise Problem(
                    429,
                    "Trop d'essais · محاولات كثيرة جدا",
                    "Réessayez plus tard. المرجو المحاولة لاحقا.",
                    headers={"Retry-After": str(wait)},
                )

    async def failed(self, reference: str) -> None:
        """Counts a failure."""
        await self._kept.add({key: end for key, _, end in self._keys(reference)})

    def _keys(self, reference: str) -> list[tuple[str, Limit, datetime]]:
        return [self._key(reference, self._each), self._key("all", self._all)]

    def _key(self, what: str, limit: Limit) -> tuple[str, Limit, datetime]:
        seconds = limit.window.total_seconds()
        number = int(self._clock().timestamp() // seconds)
        return f"{what}:{number}", limit, datetime.fromtimestamp((number + 1) * seconds, UTC)
