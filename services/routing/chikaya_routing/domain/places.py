"""Which commune a text speaks of: the gazetteer of communes, arrondissements and provinces in French and Arabic.

Names are compared in a form that forgives what people vary: accents, articles, doubled letters, `ou`/`w`, `y`/`i`,
a preposition written onto an Arabic name. Every name is a run of one to five words in a dictionary, so that a text is
looked up word by word, whatever the size of the gazetteer.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from chikaya_routing.domain.normalise import normalise, words

TERRITORIES = Path(__file__).parents[1] / "data" / "territories.csv"
ALIASES = Path(__file__).parents[1] / "data" / "place_aliases.csv"

READ_WORDS = 600
LONGEST_NAME = 5

Certainty = Literal["commune", "province", "ambiguous", "none"]
Source = Literal["form", "text", "none"]


@dataclass(frozen=True, slots=True)
class Commune:
    """A commune of the HCP's list. `code` has dots, as there."""

    code: str
    name_fr: str
    name_ar: str
    province: str
    population: int = 0

    @property
    def slug(self) -> str:
        """How the catalogue of administrations names it."""
        return "commune-" + self.code.replace(".", "-")


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of where the matter is.

    `certainty`: `commune` (one, in `commune`), `province` (only that much, in `province`), `ambiguous` (one of
    `candidates`, or several places named), `none`. `words` are the words that named it, empty for a code.
    """

    certainty: Certainty = "none"
    commune: Commune | None = None
    province: str = ""
    candidates: tuple[Commune, ...] = ()
    source: Source = "none"
    words: tuple[str, ...] = ()


NOWHERE = Place()

_ARTICLES = frozenset(["el", "al", "es", "ed", "er", "ez", "l"])
_WORD_FORMS = {
    "uled": "ulad",
    "aulad": "ulad",
    "ulad": "ulad",
    "beni": "bni",
    "ben": "bn",
    "sid": "sidi",
    "mulai": "mulai",
    "mi": "mulai",
    "en": "ain",
    "ein": "ain",
    "3in": "ain",
    "3ain": "ain",
    "suk": "suk",
    "ولاد": "اولاد",
    "ابن": "بن",
    "سيد": "سيدي",
    "ايت": "ايت",
    "واد": "وادي",
    "عايت": "ايت",
}
_LATIN_FOLDS = (
    ("ou", "u"),
    ("oo", "u"),
    ("w", "u"),
    ("y", "i"),
    ("qu", "k"),
    ("ck", "k"),
    ("sh", "ch"),
    ("ph", "f"),
    ("9", "k"),
    ("q", "k"),
    ("7", "h"),
    ("ch", "*"),
    ("kh", "5"),
    ("rh", "g"),
    ("gh", "g"),
    ("c", "k"),
    ("*", "ch"),
    ("o", "u"),
)
_DOUBLED = re.compile(r"(.)\1+")


@lru_cache(maxsize=50_000)
def _fold(word: str) -> str:
    """A normalised word in the form in which place names are compared."""
    if word[0] < "ɐ":
        for written, form in _LATIN_FOLDS:
            word = word.replace(written, form)
        word = _DOUBLED.sub(r"\1", word)
        if len(word) > 3:
            word = word.rstrip("eh") or word
    else:
        word = word.replace("ظ", "ض").replace("ٱ", "ا")
        if len(word) > 4 and word.startswith("ال"):
            word = word[2:]
        word = _DOUBLED.sub(r"\1", word)
        if len(word) > 3:
            word = word.rstrip("اه") or word
    return _WORD_FORMS.get(word, word)


def _name_words(name: str) -> list[str]:
    found = [_fold(word) for word in words(normalise(name))]
    return [word for word in found if word not in _ARTICLES] or found


@lru_cache(maxsize=50_000)
def _readings(word: str) -> tuple[tuple[str, bool], ...]:
    """The forms that a word of a text may stand for, plainest first, each with whether it bore a preposition."""
    forms = [(_fold(word), False)]
    if word[0] >= "ɐ":
        if len(word) > 3 and word[0] in "بفلوكد":
            rest = word[1:]
            forms.append((_fold("ال" + rest[1:] if word[:2] == "لل" else rest), word[0] in "بف"))
            if len(rest) > 3 and word[0] == "و" and rest[0] in "بفل":
                forms.append((_fold(rest[1:]), True))
    else:
        forms += [
            (_fold(word[len(article) :]), article in ("f", "b"))
            for article in ("el", "al", "l", "f", "d", "b")
            if word.startswith(article) and len(word) - len(article) >= 3
        ]
    return tuple(dict.fromkeys(forms))


def _folded(listed: str) -> frozenset[str]:
    return frozenset(_fold(normalise(word)) for word in listed.split())


# Words that say that a place name follows.
_LOCATIVE = _folded(
    "a à de d du f fi vers ville commune communale province prefecture secteur centre mdina mdint mdinat dial n in of "
    "at city near from في ف من مدينة جماعة إقليم عمالة ناحية ضواحي نواحي ديال د جهة قيادة دائرة بمدينة بجماعة "
    "بإقليم بعمالة لمدينة لجماعة دوار مركز حدا"
)
_PROVINCIAL = _folded("province prefecture wilaya إقليم عمالة بإقليم بعمالة لإقليم ولاية بولاية")
_COMMUNAL = _folded(
    "commune communale arrondissement mairie baladia mo9ata3a moqata3a جماعة بجماعة لجماعة مقاطعة بمقاطعة بلدية ببلدية"
)
_OFFICIAL = _COMMUNAL | _PROVINCIAL | _folded("ville douar centre مدينة بمدينة لمدينة دوار بدوار قيادة مركز")
_DARIJA_AT = frozenset(["f", "fi", "dial", "mdint", "mdinat"])

# Names that are also everyday words (dirty, enough, the new one, the palm trees, a first name…) or names in several
# cities: taken for a place only where a place word or a written-on preposition says so.
_EVERYDAY = _folded(
    "sale safi hassan rima riah sahel mers tata assa zag tah had saka fifi jorf adar akka menara annakhil "
    "saiss hssaine  souani agdal smia mansoura nasr ksar kasba marsa ain oued isly sour tabia sbata anfa "
    "jebha charf zitoune batha  salmia massira inara takaddoum californie belvedere racine hamria targa "
    "tamaris rbat fas kech casa stat sla founti  anza branes jdida ljadida  الجديدة سلا آسفي أسفي المنارة "
    "النخيل حسان حصين الداخلة العيون الساحل السمارة الحاجب الجرف طاطا المرسى القصر المنصورة  التقدم "
    "النرجس إنارة السالمية الداوديات المحاميد المسيرة التشارك البيضاء فاس العرائش المضيق العزوزية الشرف "
    "الزاك آسا تازة "
    "أنفا السويسي الفداء"
)
_COMMON_NOUNS = _folded("علينا الكارة المنزل عامر داخل الدار الألف الصباح دور مساعدة")
"""Everyday words even after a preposition (at home, in the bus, on us): places only as `commune of …`."""

_NEVER = _folded("medina المدينة")
"""Names of arrondissements that only mean the old town of whichever city."""

_DISTINCT_LETTERS = 6
"""A rural commune's one-word name of so many letters is hardly an everyday word."""


@dataclass(slots=True)
class _Entry:
    """What a name can mean."""

    communes: dict[str, Commune] = field(default_factory=dict)
    provinces: set[str] = field(default_factory=set)
    rural: bool = True
    """Whether no town, district or province bears this name."""


@dataclass(frozen=True, slots=True)
class _Mention:
    """A name found in a text."""

    words: tuple[str, ...]
    communes: tuple[Commune, ...]
    provinces: tuple[str, ...]
    of_commune: bool
    of_province: bool


class Gazetteer:
    """All places by name and by code. Built once at start; lookups change nothing."""

    def __init__(self, territories: Path = TERRITORIES, aliases: Path = ALIASES) -> None:
        """Reads the territories and the aliases: other names of communes, and well-known districts."""
        self._communes: dict[str, Commune] = {}
        self._parent: dict[str, str] = {}
        self._provinces: dict[str, tuple[str, str]] = {}
        self._names: dict[tuple[str, ...], _Entry] = {}
        rows = list(_rows(territories))
        for row in rows:
            if row["level"] == "commune":
                self._communes[row["code"]] = Commune(
                    row["code"], row["name_fr"], row["name_ar"], row["province_code"], int(row["population_2024"] or 0)
                )
        for row in rows:
            self._add_row(row)
        for row in _rows(aliases):
            self._add(row["alias"], commune=self._communes[row["code"]])
        self._longest_from: dict[str, int] = {}
        for key in self._names:
            self._longest_from[key[0]] = max(len(key), self._longest_from.get(key[0], 0))

    def _add_row(self, row: dict[str, str]) -> None:
        commune = self._communes.get(row["code"])
        if row["level"] == "arrondissement":
            commune = self._communes[row["commune_code"]]
            self._parent[row["code"]] = commune.code
        elif row["type"] == "prefecture_of_arrondissements":
            # Casablanca's prefectures are parts of one commune, whose code their own begins with.
            commune = self._communes[".".join(row["code"].split(".")[:3]) + ".0"]
            self._parent[row["code"]] = commune.code
        elif row["level"] == "province":
            self._provinces[row["code"]] = (row["name_fr"], row["name_ar"])
        for name in (row["name_fr"], row["name_ar"]):
            if commune is not None:
                self._add(name, commune=commune, rural=row["type"] == "rural")
            elif row["level"] == "province":
                self._add(name, province=row["code"])

    def _add(self, name: str, commune: Commune | None = None, province: str = "", rural: bool = False) -> None:
        key = _name_words(name)
        if len(key) == 1 and key[0] in _NEVER:
            return
        variants = {tuple(key)}
        if 1 < len(key) <= 3 and sum(map(len, key)) >= 6:
            variants.add((_fold("".join(key)),))
        for variant in variants:
            entry = self._names.setdefault(variant[:LONGEST_NAME], _Entry())
            entry.rural = entry.rural and rural
            if commune is not None:
                entry.communes[commune.code] = commune
            if province:
                entry.provinces.add(province)

    def communes(self) -> Sequence[Commune]:
        """All communes, in the order of their file."""
        return tuple(self._communes.values())

    def province_name(self, code: str) -> tuple[str, str]:
        """A province's name in French and Arabic; empty where the code is unknown."""
        return self._provinces.get(code, ("", ""))

    def by_code(self, code: str) -> Place:
        """The place of an HCP code, with dots or dashes, of a commune, an arrondissement or a province."""
        code = code.strip().removeprefix("commune-").removeprefix("commune:").replace("-", ".")
        code = self._parent.get(code, code)
        commune = self._communes.get(code)
        if commune is not None:
            return Place("commune", commune, commune.province, (commune,), "form")
        if code in self._provinces:
            return Place("province", province=code, source="form")
        return NOWHERE

    def find(self, text: str, form: str = "") -> Place:
        """Where the matter is: what the form says if it says enough, else what the text names.

        `form` is a code, or what a citizen typed as the place. Each narrows the other: a province in the form settles
        which of two communes of one name the text means.
        """
        given = self._of_form(form)
        if given.certainty == "commune":
            return given
        named = self._settle(self._mentions(text, trusted=False), given, "text")
        if named.certainty == "commune" or given.certainty == "none":
            return named
        if given.certainty == "ambiguous" and named.province:
            near = tuple(commune for commune in given.candidates if commune.province == named.province)
            if len(near) == 1:
                return Place("commune", near[0], near[0].province, near, "form", given.words)
        return given

    def _of_form(self, form: str) -> Place:
        form = form.strip()
        if not form:
            return NOWHERE
        by_code = self.by_code(form)
        if by_code.certainty != "none":
            return by_code
        return self._settle(self._mentions(form, trusted=True) or self._nearly(form), NOWHERE, "form")

    def _nearly(self, name: str) -> list[_Mention]:
        """A mention for a misspelt name that stands alone."""
        key = " ".join(_name_words(name[:80])) if words(normalise(name[:80])) else ""
        if len(key) < 5:
            return []
        near = difflib.get_close_matches(key, (" ".join(known) for known in self._names), n=1, cutoff=0.86)
        if not near:
            return []
        found = tuple(near[0].split())
        return [self._mention(found, self._names[found], "")]

    def _mentions(self, text: str, trusted: bool) -> list[_Mention]:
        """The places named in `text`, in order; `trusted` where the whole text is known to be a place."""
        found = [word for word in words(normalise(text))[:READ_WORDS] if word not in _ARTICLES]
        mentions: list[_Mention] = []
        at = 0
        while at < len(found):
            match = self._longest(found, at)
            if match is None:
                at += 1
                continue
            key, preposition = match
            entry = self._names[key]
            before = _fold(found[at - 1]) if at else ""
            if trusted or len(key) > 1 or self._meant(found[at], before, preposition, key[0], entry, text):
                mentions.append(self._mention(tuple(found[at : at + len(key)]), entry, before))
                at += len(key)
            else:
                at += 1
        return mentions

    @staticmethod
    def _meant(word: str, before: str, preposition: bool, key: str, entry: _Entry, text: str) -> bool:
        """Whether a one-word name is meant as a name, by how likely it is to be something else."""
        arabic = word[0] >= "ɐ"
        if key in _COMMON_NOUNS:
            return before in _OFFICIAL
        if key in _EVERYDAY or len(key) < 3:
            if arabic:
                return (preposition or before in _LOCATIVE) and _article_as_named(word, entry)
            return before in _OFFICIAL or before in _DARIJA_AT or (before in _LOCATIVE and _capital(word, text))
        if not entry.rural:
            return True
        if before in _OFFICIAL:
            return True
        at_place = preposition or before in _LOCATIVE
        if arabic:
            return at_place and len(key) >= _DISTINCT_LETTERS
        return at_place and (_capital(word, text) or len(key) >= _DISTINCT_LETTERS)

    def _longest(self, found: Sequence[str], at: int) -> tuple[tuple[str, ...], bool] | None:
        for first, preposition in _readings(found[at]):
            for length in range(min(self._longest_from.get(first, 0), len(found) - at), 0, -1):
                key = (first, *map(_fold, found[at + 1 : at + length]))
                if key in self._names:
                    return key, preposition
        return None

    @staticmethod
    def _mention(named: tuple[str, ...], entry: _Entry, before: str) -> _Mention:
        of_province = before in _PROVINCIAL and bool(entry.provinces)
        communes = () if of_province else tuple(entry.communes.values())
        return _Mention(named, communes, tuple(sorted(entry.provinces)), before in _COMMUNAL, of_province)

    @staticmethod
    def _settle(mentions: Sequence[_Mention], known: Place, source: Source) -> Place:
        """One place from all that is named."""
        if not mentions:
            return NOWHERE
        provinces = {known.province} - {""}
        provinces.update(province for mention in mentions for province in mention.provinces)
        provinces.update(m.communes[0].province for m in mentions if len(m.communes) == 1)
        sure = {m.communes[0].code for m in mentions if len(m.communes) == 1}
        narrowed = [(mention, _within(mention.communes, sure, provinces)) for mention in mentions]
        # `Oulad Aissa, Taroudannt`: the second name says in which province the first is.
        inside = {c.province for m, communes in narrowed if not m.provinces and len(communes) == 1 for c in communes}
        kept = [(m, communes) for m, communes in narrowed if communes and not inside.intersection(m.provinces)]
        official = [pair for pair in kept if pair[0].of_commune]
        named = {communes: mention for mention, communes in reversed(official or kept)}
        if len(named) == 1:
            (communes, mention), *_ = named.items()
            if len(communes) == 1:
                return Place("commune", communes[0], communes[0].province, communes, source, mention.words)
            return Place("ambiguous", None, "", communes, source, mention.words)
        if named:
            every = tuple(dict.fromkeys(commune for communes in reversed(named) for commune in communes))
            single = {commune.code for commune in every}
            if len(single) == 1:
                return Place("commune", every[0], every[0].province, every, source, tuple(_flat(named.values())))
            shared = {commune.province for commune in every}
            province = shared.pop() if len(shared) == 1 else ""
            return Place("ambiguous", None, province, every[:8], source, tuple(_flat(named.values())))
        province = next((m.provinces[0] for m in mentions if m.provinces), "")
        return Place("province", province=province, source=source, words=mentions[0].words) if province else NOWHERE


def _article_as_named(word: str, entry: _Entry) -> bool:
    """Whether an Arabic word bears the article if the name does: `داخل` is inside, `الداخلة` a town."""
    if not any(commune.name_ar.startswith("ال") for commune in entry.communes.values()):
        return True
    return "ال" in word[:4] or word.startswith("لل")


def _capital(word: str, text: str) -> bool:
    """Whether `word` stands in `text` written as names are: a capital, then small letters."""
    written = (candidate for candidate in re.findall(r"[^\W\d_]+", text) if normalise(candidate) == word)
    return any(candidate[0].isupper() and not candidate.isupper() for candidate in written)


def _within(communes: tuple[Commune, ...], sure: set[str], provinces: set[str]) -> tuple[Commune, ...]:
    """Those of `communes` that are named elsewhere too, else those in one of `provinces`, else all."""
    named = tuple(commune for commune in communes if commune.code in sure)
    return named or tuple(commune for commune in communes if commune.province in provinces) or communes


def _flat(mentions: Iterable[_Mention]) -> Iterator[str]:
    for mention in mentions:
        yield from mention.words


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)
