"""Normalisation, letter by letter."""

import pytest
from chikaya_routing.domain.features import tokens
from chikaya_routing.domain.normalise import MAX_CHARACTERS, normalise, skeleton, tifinagh_to_latin, words
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("written", "form"),
    [
        *[(alef, "ا") for alef in "اأإآٱ"],
        ("ة", "ه"),
        ("ى", "ي"),
        ("ی", "ي"),
        ("ئ", "ي"),
        ("ؤ", "و"),
        ("شيء", "شي"),
        *[(gaf, "ك") for gaf in "گڭکݣ"],
        ("پ", "ب"),
        ("ڤ", "ف"),
        ("مـــــاء", "ما"),
        ("مُحَمَّدٌ", "محمد"),
        ("رحمٰن", "رحمن"),
        ("٠١٢٣٤٥٦٧٨٩", "0123456789"),
        ("۰۱۲۳۴۵۶۷۸۹", "0123456789"),
        ("ﻻ", "لا"),
        ("بزاااااف", "بزاف"),
    ],
)
def test_arabic_letters_that_writers_exchange_are_one(written: str, form: str) -> None:
    assert normalise(written) == form


@pytest.mark.parametrize(
    ("written", "form"),
    [
        *[(letter, "e") for letter in "éèêëÉÈ"],
        *[(letter, "a") for letter in "àâäÀ"],
        *[(letter, "i") for letter in "îïÎ"],
        *[(letter, "o") for letter in "ôöÔ"],
        *[(letter, "u") for letter in "ùûüÙ"],
        ("ç", "c"),
        ("œuvre", "oeuvre"),
        ("l’eau", "l'eau"),
        ("Straße", "strasse"),
        ("ﬁche", "fiche"),
        ("ＡＢＣ", "abc"),
        ("e\u0301tat", "etat"),
        ("soooooo", "so"),
        ("commune", "commune"),
        ("ḍḥṛṣṭẓ", "dhrstz"),
        ("ɛɣ", "ɛɣ"),
    ],
)
def test_latin_letters_lose_case_and_accents(written: str, form: str) -> None:
    assert normalise(written) == form


def test_the_digits_of_darija_are_letters_and_stay() -> None:
    assert words(normalise("3tani l7e99 dyali 9bel 5 drahem")) == ["3tani", "l7e99", "dyali", "9bel", "5", "drahem"]


def test_a_number_repeats_its_digits_and_keeps_them() -> None:
    assert normalise("1000 dh") == "1000 dh"


@pytest.mark.parametrize("invisible", ["\u200b", "\u202e", "\u2066", "\ufeff", "\u00ad", "\u200f"])
def test_invisible_characters_do_not_split_words(invisible: str) -> None:
    assert normalise(f"fac{invisible}ture") == "facture"


def test_controls_and_spaces_are_one_space() -> None:
    assert normalise(" a\x00b\r\n\t c\u00a0d ") == "a b c d"


def test_only_the_beginning_of_a_very_long_text_is_read() -> None:
    assert len(normalise("ab " * MAX_CHARACTERS)) <= MAX_CHARACTERS


def test_tifinagh_and_latin_spellings_of_tamazight_share_their_words() -> None:
    assert tifinagh_to_latin("ⴰⵣⵓⵍ ⴼⵍⵍⴰⵡⵏ") == "azul fllawn"
    assert tokens("ⴰⵎⴰⵏ") == tokens("aman")


def test_a_number_tells_only_that_it_is_one() -> None:
    assert tokens("le 12 mai, tel 0600000000") == ["le", "0", "mai", "tel", "0"]


@pytest.mark.parametrize(
    "spellings",
    [("فاتورة", "fatora", "fatoura"), ("ضريبة", "dariba"), ("شكاية", "chikaya", "shikaya"), ("قايد", "9ayd", "qaid")],
)
def test_a_word_has_one_skeleton_in_either_script(spellings: tuple[str, ...]) -> None:
    assert len({skeleton(normalise(word)) for word in spellings}) == 1


@given(st.text(max_size=200))
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
