"""Which language a text is written in, of those that citizens write here, or `other`.

Scripts are counted first, since they settle most of it; the model's language head, trained on the corpus, tells apart
what shares a script: standard Arabic and Darija, French and Darija in Latin letters, and languages not read here.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast, get_args

Language = Literal["fr", "ar", "ary_Arab", "ary_Latn", "mixed", "en", "zgh", "other"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

READ_CHARACTERS = 2_000
"""The language of a text shows in its beginning."""

MIXED_SHARE = 0.15
"""A second script makes a text mixed from this share of its letters: a name or an acronym does not."""

_IN_ARABIC: frozenset[Language] = frozenset({"ar", "ary_Arab", "mixed", "other"})
_IN_LATIN: frozenset[Language] = frozenset({"fr", "ary_Latn", "mixed", "en", "zgh", "other"})

_FOREIGN_LETTERS = frozenset("ٹڈڑںےژۓێۆڕڵہھğşıłąęőűřěůßñãõățșžđŋ¿¡")
"""Letters of languages in Arabic or Latin script that no Moroccan spelling uses."""
_FOREIGN_SHARE = 0.012


@dataclass(frozen=True, slots=True)
class LanguageGuess:
    """A language and how sure that is, 0 to 1; a text without letters is `other` at 0."""

    language: Language
    confidence: float


@dataclass(frozen=True, slots=True)
class Scripts:
    """How many letters of a text are of which script."""

    latin: int = 0
    arabic: int = 0
    tifinagh: int = 0
    elsewhere: int = 0
    foreign: int = 0
    """Of the Latin and Arabic ones, those that only other languages use."""

    @property
    def letters(self) -> int:
        """All letters."""
        return self.latin + self.arabic + self.tifinagh + self.elsewhere


def scripts(text: str) -> Scripts:
    """Counts the letters at the beginning of `text` by script."""
    counts = Counter(map(_script, unicodedata.normalize("NFC", text[:READ_CHARACTERS])))
    return Scripts(
        latin=counts["latin"] + counts["foreign latin"],
        arabic=counts["arabic"] + counts["foreign arabic"],
        tifinagh=counts["tifinagh"],
        elsewhere=counts["elsewhere"],
        foreign=counts["foreign latin"] + counts["foreign arabic"] + counts["foreign sign"],
    )


@lru_cache(maxsize=10_000)
def _script(character: str) -> str:
    code = ord(character)
    foreign = "foreign " if character in _FOREIGN_LETTERS or character.lower() in _FOREIGN_LETTERS else ""
    if not character.isalpha():
        return "foreign sign" if foreign else ""
    if code < 0x250 or 0x1E00 <= code < 0x1F00 or character in "ɛɣ":
        return foreign + "latin"
    if 0x600 <= code < 0x700 or 0x750 <= code < 0x780 or 0xFB50 <= code < 0xFE00 or 0xFE70 <= code < 0xFEFF:
        return foreign + "arabic"
    return "tifinagh" if 0x2D30 <= code < 0x2D80 else "elsewhere"


def identify(text: str, by_model: Mapping[str, float]) -> LanguageGuess:
    """The language of `text`, given what the model's language head says of it (probability by language)."""
    found = scripts(text)
    if not found.letters:
        return LanguageGuess("other", 0.0)
    share = 1 / found.letters
    if found.elsewhere * share >= 0.4:
        return LanguageGuess("other", found.elsewhere * share)
    if found.tifinagh * share >= 0.3:
        return LanguageGuess("zgh", round(0.5 + found.tifinagh * share / 2, 4))
    if found.foreign >= 2 and found.foreign * share >= _FOREIGN_SHARE:
        return LanguageGuess("other", min(1.0, round(0.7 + 5 * found.foreign * share, 4)))
    second = min(found.arabic, found.latin) * share
    if second >= MIXED_SHARE and found.letters >= 12:
        return LanguageGuess("mixed", round(min(1.0, 0.6 + second), 4))
    possible = _IN_ARABIC if found.arabic >= found.latin else _IN_LATIN
    ranked = {label: p for label, p in by_model.items() if label in possible}
    total = sum(ranked.values())
    if total <= 0:
        return LanguageGuess("ar" if possible is _IN_ARABIC else "fr", 0.0)
    best = max(ranked, key=lambda label: ranked[label])
    return LanguageGuess(cast(Language, best), round(ranked[best] / total, 4))
