"""Access codes: the right one opens the case however it is typed, and no other does."""

from chikaya_contracts import access
from hypothesis import given
from hypothesis import strategies as st

SECRET, KEY = b"a secret of intake's, 32 bytes..", b"the verifiers' key, shared......"
CODES = st.text(access.ALPHABET, min_size=12, max_size=12)


def test_a_code_is_twelve_letters_in_groups_and_the_same_each_time() -> None:
    written = access.code(SECRET, "c-1")
    assert [len(group) for group in written.split("-")] == [4, 4, 4]
    assert set(written) <= set(access.ALPHABET + "-")
    assert written == access.code(SECRET, "c-1")


def test_a_code_depends_on_secret_and_complaint() -> None:
    assert len({access.code(secret, case) for secret in (SECRET, KEY) for case in ("c-1", "c-2")}) == 4


@given(st.uuids())
def test_sixty_bits_are_used(complaint: object) -> None:
    assert len(access.normalised(access.code(SECRET, str(complaint)))) == access.LENGTH


@given(CODES, st.sampled_from(["", "-", " ", "\u00a0", "\u202f", "\u200e", "–"]), st.booleans())
def test_a_code_is_read_with_any_separator_in_any_case(code: str, gap: str, lower: bool) -> None:
    written = gap.join((code[:4], code[4:8], code[8:]))
    assert access.normalised(written.lower() if lower else written) == code


def test_letters_that_look_like_digits_are_read_as_digits() -> None:
    assert access.normalised("oOiI-lL01") == "00111101"


def test_arabic_digits_are_read() -> None:
    assert access.normalised("AB٠١-٢CDE") == "AB012CDE"


@given(CODES)
def test_the_right_code_opens_and_looks_alike(code: str) -> None:
    expected = access.verifier(KEY, "c-1", code)
    typed = code.replace("0", "o").replace("1", "l").lower()
    assert access.opens(KEY, "c-1", typed, expected)


@given(CODES, st.integers(0, 11), st.sampled_from(access.ALPHABET))
def test_one_wrong_letter_does_not_open(code: str, place: int, letter: str) -> None:
    wrong = code[:place] + letter + code[place + 1 :]
    assert access.opens(KEY, "c-1", wrong, access.verifier(KEY, "c-1", code)) == (wrong == code)


def test_a_code_opens_only_its_own_complaint_with_its_own_key() -> None:
    code = access.code(SECRET, "c-1")
    expected = access.verifier(KEY, "c-1", code)
    assert access.opens(KEY, "c-1", code, expected)
    assert not access.opens(KEY, "c-2", code, expected)
    assert not access.opens(SECRET, "c-1", code, expected)
    assert not access.opens(KEY, "c-1", "", expected)
    assert code.replace("-", "") not in expected.upper()


@given(st.text())
def test_any_text_may_be_typed(written: str) -> None:
    assert not access.opens(KEY, "c-1", written, access.verifier(KEY, "c-1", "ABCD-EFGH-JKMN") + "0")
