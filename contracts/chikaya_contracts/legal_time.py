"""The legal clock: when a complaint must be relayed and answered. Pure; tracking is its authority.

Source: decree 2-17-265: relay within 15 days of receipt, answer within 60 days of receipt. Days are civil
days in Africa/Casablanca; a deadline that ends on a Saturday, a Sunday or a public holiday moves to the next
working day. The clock stands while a question to the citizen is open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays

CASABLANCA = ZoneInfo("Africa/Casablanca")
RELAY_DAYS = 15
ANSWER_DAYS = 60


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Last instants (UTC) at which the relay and the answer are still in time."""

    relay: datetime
    answer: datetime


@lru_cache(maxsize=16)
def public_holidays(year: int) -> frozenset[date]:
    """Morocco's public holidays of a year, religious ones as computed ahead by the `holidays` package."""
    return frozenset(holidays.country_holidays("MA", years=year))


def is_working_day(day: date) -> bool:
    """Whether administrations work on `day`."""
    return day.weekday() < 5 and day not in public_holidays(day.year)


def last_instant(start: datetime, days: int, paused: timedelta = timedelta()) -> datetime:
    """The end (UTC) of the civil day that lies `days` after `start`'s, moved by `paused` and to a working day."""
    day = (start + paused).astimezone(CASABLANCA).date() + timedelta(days=days)
    while not is_working_day(day):
        day += timedelta(days=1)
    return datetime.combine(day, time(23, 59, 59), CASABLANCA).astimezone(UTC)


def deadlines(received_at: datetime, pauses: Sequence[tuple[datetime, datetime]] = ()) -> Deadlines:
    """The deadlines of a complaint received at `received_at` (aware), given when the citizen's answer was awaited.

    Args:
        pauses: (asked, answered) of each question that has been answered; disjoint.
    """
    paused = sum((end - begin for begin, end in pauses), timedelta())
    return Deadlines(
        relay=last_instant(received_at, RELAY_DAYS),
        answer=last_instant(received_at, ANSWER_DAYS, paused),
    )
