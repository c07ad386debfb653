"""The legal clock of decree 2-17-265, in civil days of Casablanca."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from chikaya_contracts.legal_time import (
    ANSWER_DAYS,
    CASABLANCA,
    RELAY_DAYS,
    deadlines,
    is_working_day,
    last_instant,
    public_holidays,
)
from hypothesis import assume, given
from hypothesis import strategies as st

MOMENTS = st.datetimes(datetime(2019, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
PAUSES = st.timedeltas(timedelta(), timedelta(days=40))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def civil(instant: datetime) -> date:
    return instant.astimezone(CASABLANCA).date()


def test_relay_within_15_days_answer_within_60() -> None:
    due = deadlines(utc("2026-04-13T09:00"))  # a Monday
    assert civil(due.relay) == date(2026, 4, 28)
    assert civil(due.answer) == date(2026, 6, 12)


def test_a_deadline_is_the_last_second_of_its_day_in_casablanca() -> None:
    due = deadlines(utc("2026-04-13T09:00"))
    assert due.relay == utc("2026-04-28T22:59:59")
    assert due.relay.astimezone(CASABLANCA).time().isoformat() == "23:59:59"


@pytest.mark.parametrize(
    ("received", "relay", "why"),
    [
        ("2026-04-10T10:00", date(2026, 4, 27), "the 25th is a Saturday"),
        ("2026-04-11T10:00", date(2026, 4, 27), "the 26th is a Sunday"),
        ("2026-04-16T10:00", date(2026, 5, 4), "the 1st of May is a holiday, a Friday: then the weekend"),
        ("2026-07-15T10:00", date(2026, 7, 31), "the 30th of July is the Throne's day, a Thursday"),
        ("2026-08-05T10:00", date(2026, 8, 24), "the 20th and 21st of August are holidays, then the weekend"),
        ("2026-10-22T10:00", date(2026, 11, 9), "the 6th of November is the Green March, a Friday"),
        ("2025-12-17T10:00", date(2026, 1, 2), "New Year's day is a holiday of the next year"),
    ],
)
def test_a_deadline_on_a_day_without_work_moves_to_the_next_working_day(received: str, relay: date, why: str) -> None:
    assert civil(deadlines(utc(received)).relay) == relay, why


def test_the_day_of_receipt_is_that_of_casablanca() -> None:
    # At UTC+1, 23:30 UTC is half past midnight of the next day.
    assert civil(last_instant(utc("2026-04-13T22:59:59"), RELAY_DAYS)) == date(2026, 4, 28)
    assert civil(last_instant(utc("2026-04-13T23:00:00"), RELAY_DAYS)) == date(2026, 4, 29)


def test_in_ramadan_casablanca_keeps_universal_time() -> None:
    # 2026: clocks go back on 15 February, forward on 22 March.
    assert last_instant(utc("2026-03-02T09:00"), RELAY_DAYS) == utc("2026-03-17T23:59:59")
    assert civil(last_instant(utc("2026-03-02T23:30"), RELAY_DAYS)) == date(2026, 3, 17)


def test_a_period_that_spans_the_change_of_time_counts_civil_days() -> None:
    before, after = utc("2026-02-09T23:30"), utc("2026-03-16T23:30")  # 10 February, 16 March in Casablanca
    assert last_instant(before, RELAY_DAYS) == utc("2026-02-25T23:59:59")
    assert last_instant(after, RELAY_DAYS) == utc("2026-03-31T22:59:59")


def test_a_pause_moves_the_answer_and_not_the_relay() -> None:
    received = utc("2026-04-13T09:00")
    due = deadlines(received, [(utc("2026-05-04T10:00"), utc("2026-05-14T10:00"))])
    assert due.relay == deadlines(received).relay
    assert civil(due.answer) == date(2026, 6, 22)


def test_pauses_add_up() -> None:
    received, hour = utc("2026-04-13T09:00"), timedelta(hours=1)
    asked = [utc("2026-05-04T10:00"), utc("2026-05-11T10:00")]
    apart = deadlines(received, [(at, at + 36 * hour) for at in asked])
    assert apart == deadlines(received, [(asked[0], asked[0] + 72 * hour)])


def test_a_public_holiday_of_each_kind_is_known() -> None:
    # Fixed: Independence Manifesto, Amazigh new year, Labour day, Youth day. Religious: Eid al-Fitr 2025.
    for day in (date(2026, 1, 11), date(2026, 1, 14), date(2026, 5, 1), date(2026, 8, 21), date(2025, 3, 31)):
        assert day in public_holidays(day.year)
        assert not is_working_day(day)


@given(MOMENTS, st.sampled_from([RELAY_DAYS, ANSWER_DAYS]), PAUSES)
def test_a_deadline_ends_on_a_working_day_and_not_early(start: datetime, days: int, paused: timedelta) -> None:
    due = last_instant(start, days, paused)
    assert due.tzinfo is UTC
    assert is_working_day(civil(due))
    shortest = civil(start + paused) + timedelta(days=days)
    assert shortest <= civil(due) <= shortest + timedelta(days=10)
    assert not any(is_working_day(shortest + timedelta(days=n)) for n in range((civil(due) - shortest).days))


@given(MOMENTS, MOMENTS)
def test_who_comes_later_is_not_due_earlier(one: datetime, other: datetime) -> None:
    earlier, later = sorted((one, other))
    assert deadlines(earlier).relay <= deadlines(later).relay
    assert deadlines(earlier).answer <= deadlines(later).answer


@given(MOMENTS, PAUSES, PAUSES)
def test_a_longer_pause_never_brings_the_answer_forward(start: datetime, one: timedelta, other: timedelta) -> None:
    shorter, longer = sorted((one, other))
    assert last_instant(start, ANSWER_DAYS, shorter) <= last_instant(start, ANSWER_DAYS, longer)


@given(MOMENTS)
def test_the_relay_is_due_before_the_answer_and_both_after_receipt(start: datetime) -> None:
    due = deadlines(start)
    assert start < due.relay < due.answer


@given(MOMENTS, st.integers(-12, 14))
def test_the_zone_that_a_time_is_written_in_does_not_matter(start: datetime, hours: int) -> None:
    written = start.astimezone(timezone(timedelta(hours=hours)))
    assume(written == start)
    assert deadlines(written) == deadlines(start)
