"""One spelling for what people write in many: the form of a text in which words are compared.

Moroccans write the same word with and without accents, hamza, vowel signs, tatweel, capitals and repeated letters, and
write Darija in Latin letters where 3, 7 and 9 are letters. Everything that compares words (the classifier, the
gazetteer, the rules) compares this form.
"""

from __future__ import annotations

import re
import unicodedata

MAX_CHARACTERS = 20_000
"""What follows is not read: no complaint is decided by its eleventh page, and a reader's time is bounded."""

_LETTERS = {
    # Arabic: one letter for those that writers exchange. Hamza carriers lose their hamza by decomposition (NFKD).
    "ٱ": "ا",
    "ى": "ي",
    "ی": "ي",
    "ې": "ي",
    "ے": "ي",
    "ة": "ه",
    "ہ": "ه",
    "ھ": "ه",
    "ە": "ه",
    "ک": "ك",
    # Moroccan and Persian letters for sounds that standard Arabic lacks: g, v, p, ch.
    "گ": "ك",
    "ڭ": "ك",
    "ݣ": "ك",
    "ڨ": "ق",
    "ڤ": "ف",
    "ڥ": "ف",
    "پ": "ب",
    "چ": "ش",
    "ء": "",
    "ـ": "",
    # Latin letters that decomposition leaves whole.
    "œ": "oe",
    "æ": "ae",
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "ı": "i",
    "ε": "ɛ",
    "γ": "ɣ",
    # Apostrophes and dashes as keyboards and word processors vary them.
    "’": "'",
    "‘": "'",
    "ʼ": "'",
    "`": "'",
    "´": "'",
    "‐": "-",
    "‑": "-",
    "–": "-",
    "—": "-",
    "،": ",",
    "؛": ";",
    "؟": "?",
}


def _table() -> dict[int, str | None]:
    table: dict[int, str | None] = {ord(letter): form for letter, form in _LETTERS.items()}
    marks = [*range(0x0300, 0x0370), *range(0x0610, 0x061B), *range(0x064B, 0x0660), 0x0670, *range(0x06D6, 0x06EE)]
    marks += range(0x08D3, 0x0900)
    for code in marks:
        if unicodedata.category(chr(code)) in ("Mn", "Cf", "Me"):
            table[code] = None
    # Invisible characters: zero-width, joiners, direction marks and overrides, byte order mark, soft hyphen.
    for code in (
        0x00AD,
        0x061C,
        0x180E,
        0xFEFF,
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
    ):
        table[code] = None
    for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)):
        table[code] = " "
    for zero in (0x0660, 0x06F0):
        for digit in range(10):
            table[zero + digit] = str(digit)
    return table


_TABLE = _table()
_STRETCHED = re.compile(r"([^\W\d_])\1{2,}")
_WORD = re.compile(r"[^\W_]+")

_TIFINAGH = dict(
    zip(
        map(ord, "ⴰⴱⴲⵛⴳⴴⴷⴹⴻⴼⴽⵀⵃⵄⵅⵇⵉⵊⵍⵎⵏⵓⵔⵕⵖⵙⵚⵜⵟⵡⵢⵣⵥⵠⵒⵯⴵⵞⵆⵁ"),
        [
            "a",
            "b",
            "b",
            "c",
            "g",
            "g",
            "d",
            "d",
            "e",
            "f",
            "k",
            "h",
            "h",
            "ɛ",
            "x",
            "q",
            "i",
            "j",
            "l",
            "m",
            "n",
            "u",
            "r",
            "r",
            "ɣ",
            "s",
            "s",
            "t",
            "t",
            "w",
            "y",
            "z",
            "z",
            "v",
            "p",
            "w",
            "j",
            "c",
            "q",
            "h",
        ],
        strict=True,
    )
)


def normalise(text: str) -> str:
    """`text` in the form in which words are compared; giving it that form twice changes nothing.

    Compatibility forms are unfolded, case and accents dropped, Arabic letters that writers exchange made one, digits
    made ASCII, a letter written three times or more written once, invisible characters removed, spaces made single.
    """
    text = unicodedata.normalize("NFKD", text[:MAX_CHARACTERS])
    text = unicodedata.normalize("NFKD", text.casefold()).translate(_TABLE)
    # Removing a mark can bring letters together, so that stretching is looked for last.
    return " ".join(_STRETCHED.sub(r"\1", text).split())


def tifinagh_to_latin(text: str) -> str:
    """Tifinagh letters (IRCAM) in the Latin letters of the same language, so that both spellings share their words."""
    return text.translate(_TIFINAGH)


def words(normalised: str) -> list[str]:
    """The words of a normalised text in order: runs of letters and digits, so that `3tani` and `9bel` are words."""
    return _WORD.findall(normalised)


_SOUNDS = str.maketrans(
    {
        **dict(zip("بتثجحخدذرزسشصضطظغفقكلمنهو", "bttjhxddrzscsdtdgfkklmnhw", strict=True)),
        **dict.fromkeys("اعيءaeiouyɛ3", ""),
        **dict(zip("579qgpvɣ", "xhkkkbfg", strict=True)),
    }
)
_DIGRAPHS = (("ou", "w"), ("ch", "š"), ("sh", "š"), ("kh", "x"), ("gh", "g"), ("c", "k"), ("š", "c"))


def skeleton(word: str) -> str:
    """The consonants of a normalised word in one alphabet, whichever script it is written in.

    Darija has no spelling: `فاتورة`, `fatora` and `facture` differ in every vowel and in the script, and share most
    of their consonants. `w` is dropped, since it stands for a vowel as often as not, and a final `h`, which in Arabic
    letters is mostly the feminine ending that Latin letters write as a vowel.
    """
    for written, sound in _DIGRAPHS:
        word = word.replace(written, sound)
    bones = word.translate(_SOUNDS).replace("w", "")
    bones = "".join(letter for letter, before in zip(bones, " " + bones, strict=False) if letter != before)
    return bones[:-1] if len(bones) > 2 and bones.endswith("h") else bones
