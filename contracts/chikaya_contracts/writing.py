"""How people write a reference or an access code, and what they mean by it."""

import unicodedata

_SEPARATORS = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Pd"})
"""Unicode's spaces, controls, marks of direction (copied along with Arabic text) and dashes."""


def plain(written: str) -> str:
    """`written` without separators and marks of direction, every script's digits as ASCII digits."""
    return "".join(
        str(unicodedata.decimal(character)) if character.isdecimal() else character
        for character in written
        if character not in "./_" and unicodedata.category(character) not in _SEPARATORS
    )
