"""How long an SMS may be (3GPP TS 23.038): two segments, in the 7-bit alphabet for French, in UCS-2 for Arabic."""

import unicodedata

# TS 23.038, 6.2.1 without the escape, and 6.2.1.1 (each of these counts twice).
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")
_INSTEAD = {
    **dict.fromkeys("’‘", "'"),
    **dict.fromkeys("«»“”", '"'),
    **dict.fromkeys("–—", "-"),
    **{"…": "...", "œ": "oe", "Œ": "OE"},
}

TWO_SEGMENTS_7_BIT = 2 * 153
TWO_SEGMENTS_UCS2 = 2 * 67


def in_gsm_alphabet(text: str) -> str:
    """`text` with what the 7-bit alphabet lacks replaced by what comes nearest: `ê` by `e`, `’` by `'`.

    What has nothing near it (another script) stays, and makes the whole message UCS-2.
    """
    return "".join(_nearest(character) for character in text)


def _nearest(character: str) -> str:
    if character in _BASIC or character in _EXTENDED:
        return character
    if character.isspace():
        return " "
    plain = _INSTEAD.get(character) or "".join(
        part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part)
    )
    return plain if plain and all(part in _BASIC for part in plain) else character


def fits(text: str) -> bool:
    """Whether a message is sent in at most two segments."""
    if all(character in _BASIC or character in _EXTENDED for character in text):
        return len(text) + sum(character in _EXTENDED for character in text) <= TWO_SEGMENTS_7_BIT
    return len(text.encode("utf-16-be")) // 2 <= TWO_SEGMENTS_UCS2
