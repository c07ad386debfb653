"""Reference numbers in blocks: a process leases a run of numbers at a time, so that giving one out asks nobody.

A block is used by the process that leased it and by no other. What a crash leaves of it is never used: a gap.
"""

from dataclasses import dataclass
from datetime import datetime

from chikaya_contracts import reference
from chikaya_contracts.legal_time import CASABLANCA


@dataclass(frozen=True, slots=True)
class Block:
    """Numbers of `year` from `first` up to, but without, `end`."""

    year: int
    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first

    def take(self, count: int) -> tuple[list[str], "Block"]:
        """At most `count` references, and what is left."""
        until = min(self.first + count, self.end)
        return [reference.make(self.year, number) for number in range(self.first, until)], Block(
            self.year, until, self.end
        )


def year_of(received_at: datetime) -> int:
    """The year that a reference begins with: that of the receipt, by the clock in Morocco."""
    return received_at.astimezone(CASABLANCA).year
