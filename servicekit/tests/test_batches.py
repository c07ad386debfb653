"""When dead letters are an outage."""

from chikaya_servicekit.batches import IN_A_ROW, OF_THE_LATEST, SHARE, Limit
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
