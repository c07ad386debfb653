"""References: what is mistyped is noticed, what is written another way is understood."""

import pytest
from chikaya_contracts import reference
from hypothesis import given
from hypothesis import strategies as st

REFERENCES = st.builds(reference.make, st.integers(2020, 2099), st.integers(1, 99_999_999))
GAPS = [" ", "-", "–", ".", "/", "\u00a0", "\u202f", "\u200f", "\u2066", "\n"]
SEPARATORS = st.lists(st.sampled_from(GAPS), max_size=3).map("".join)
SCRIPTS = st.sampled_from(["0123456789", "٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹"])


def test_a_reference_is_fourteen_digits() -> None:
    assert reference.make(2026, 1234) == "20260000123439"
    assert reference.spoken("20260000123439") == "2026 0000 1234 39"


@pytest.mark.parametrize(("year", "sequence"), [(999, 1), (10_000, 1), (2026, 0), (2026, 10**8), (2026, -1)])
def test_there_is_no_reference_outside_its_digits(year: int, sequence: int) -> None:
    with pytest.raises(ValueError, match="no reference"):
        reference.make(year, sequence)


@given(REFERENCES, st.integers(0, 13), st.integers(1, 9))
def test_every_wrong_digit_is_caught(written: str, place: int, more: int) -> None:
    digit = str((int(written[place]) + more) % 10)
    with pytest.raises(ValueError, match="digit"):
        reference.parse(written[:place] + digit + written[place + 1 :])


@given(REFERENCES, st.integers(0, 12))
def test_every_swap_of_neighbours_is_caught(written: str, place: int) -> None:
    swapped = written[:place] + written[place + 1] + written[place] + written[place + 2 :]
    if swapped != written:
        with pytest.raises(ValueError, match="digit"):
            reference.parse(swapped)


def test_no_wrong_digit_nor_swap_of_one_reference_escapes() -> None:
    right = reference.make(2026, 70_918_273)
    wrong = {right[:i] + d + right[i + 1 :] for i in range(14) for d in "0123456789"}
    wrong |= {right[:i] + right[i + 1] + right[i] + right[i + 2 :] for i in range(13)}
    for written in wrong - {right}:
        with pytest.raises(ValueError, match="digit"):
            reference.parse(written)


@given(REFERENCES, st.lists(SEPARATORS, min_size=15, max_size=15), SCRIPTS)
def test_separators_and_other_digits_are_forgiven(right: str, gaps: list[str], script: str) -> None:
    digits = right.translate(str.maketrans("0123456789", script))
    written = gaps[0] + "".join(digit + gap for digit, gap in zip(digits, gaps[1:], strict=True))
    assert reference.parse(written) == right


@given(REFERENCES)
def test_what_is_spoken_is_understood(right: str) -> None:
    assert reference.parse(reference.spoken(right)) == right


@pytest.mark.parametrize(
    "written", ["", "2026", "2026000012343", "202600001234391", "2026OOOO123439", "²0260000123439", "chikaya"]
)
def test_what_is_no_reference_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="14 digits"):
        reference.parse(written)


@given(st.text(min_size=9))
def test_any_text_is_a_reference_or_refused_without_being_repeated(written: str) -> None:
    try:
        said = reference.parse(written)
    except ValueError as refused:
        said = str(refused)
    assert written not in said or written == said
