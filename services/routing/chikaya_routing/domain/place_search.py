"""Communes by what a person has typed so far, in French or Arabic."""

from dataclasses import dataclass

from chikaya_routing.domain.normalise import normalise, words
from chikaya_routing.domain.places import Commune, Gazetteer

ARTICLE = "ال"


@dataclass(frozen=True, slots=True)
class FoundPlace:
    """A commune and its province."""

    commune: Commune
    province_fr: str
    province_ar: str


@dataclass(frozen=True, slots=True)
class _Entry:
    found: FoundPlace
    names: tuple[tuple[str, ...], ...]
    """Words of the name in French, in Arabic."""
    around: frozenset[str]
    """Words of the province's names."""


class PlaceSearch:
    """All communes, ready to be searched by the beginnings of words."""

    def __init__(self, gazetteer: Gazetteer) -> None:
        self._gazetteer = gazetteer
        self._entries = []
        for commune in gazetteer.communes():
            province = gazetteer.province_name(commune.province)
            names = tuple(_words(name) for name in (commune.name_fr, commune.name_ar))
            around = frozenset(word for name in province for word in _words(name))
            self._entries.append(_Entry(FoundPlace(commune, *province), names, around))
        self._by_code = {entry.found.commune.code: entry.found for entry in self._entries}

    def find(self, typed: str, limit: int) -> list[FoundPlace]:
        """Communes whose name begins like `typed`, then those with its words, then those with words of the province
        too; larger ones first. A district or another spelling gives its commune where no name fits."""
        wanted = _words(typed[:80])
        if not wanted:
            return []
        ranked = sorted(
            (rank, -entry.found.commune.population, entry.found.commune.code)
            for entry in self._entries
            if (rank := _rank(entry, wanted)) is not None
        )
        if ranked:
            return [self._by_code[code] for *_, code in ranked[:limit]]
        near = self._gazetteer.find("", typed[:80])
        return [self._by_code[commune.code] for commune in near.candidates[:limit]]

    def by_code(self, code: str) -> FoundPlace | None:
        """The commune of an HCP code, with dots or dashes; of an arrondissement, its commune."""
        commune = self._gazetteer.by_code(code).commune
        return self._by_code[commune.code] if commune else None


def _rank(entry: _Entry, wanted: tuple[str, ...]) -> int | None:
    if any(" ".join(name).startswith(" ".join(wanted)) for name in entry.names):
        return 0
    for rank, around in ((1, frozenset[str]()), (2, entry.around)):
        for name in entry.names:
            found = {*name, *around}
            begun = [any(word.startswith(typed) for word in found) for typed in wanted]
            if all(begun) and any(word.startswith(typed) for word in name for typed in wanted):
                return rank
    return None


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.removeprefix(ARTICLE) or word for word in words(normalise(name)))
