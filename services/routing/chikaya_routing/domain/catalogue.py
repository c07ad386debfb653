"""The catalogue of administrations: rows as people write them, what an import changes, what is wrong with a row.

Pure. An edition is the catalogue after one import. A row that a later import no longer has is closed: nothing is routed
to it any more, and it keeps its names for the complaints that it has had.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from chikaya_contracts.messages.catalogue import AdministrationListed
from pydantic import ValidationError

Rows = Mapping[str, AdministrationListed]

COLUMNS = ("slug", "name_fr", "name_ar", "kind", "parent", "competence", "own_system")
OWN_SYSTEM = {"true": True, "false": False, "": False}
COMMUNE = "commune-"


@dataclass(frozen=True, slots=True)
class Edition:
    """The catalogue as of one import: rows in force and rows that are closed, by slug. `version` counts imports."""

    version: int = 0
    rows: Rows = field(default_factory=lambda: MappingProxyType({}))
    closed: Rows = field(default_factory=lambda: MappingProxyType({}))

    def find(self, slug: str | None) -> AdministrationListed | None:
        """The row of a slug, in force or closed: for its names."""
        return self.rows.get(slug or "") or self.closed.get(slug or "")


@dataclass(frozen=True, slots=True)
class WrongRow:
    """What is wrong with one row of a file. `line` as an editor counts them."""

    file: str
    line: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A row that an import changes: `fields` gives the old and the new value by name."""

    row: AdministrationListed
    fields: Mapping[str, tuple[object, object]]


@dataclass(frozen=True, slots=True)
class Changes:
    """What an import would do. `edition` is the catalogue after it."""

    edition: Edition
    added: tuple[AdministrationListed, ...]
    changed: tuple[Changed, ...]
    closed: tuple[AdministrationListed, ...]

    @property
    def written(self) -> list[AdministrationListed]:
        """The rows that come into force."""
        return [*self.added, *(one.row for one in self.changed)]

    @property
    def told(self) -> list[AdministrationListed]:
        """The rows that others are to be told of: those that come into force, and those that are closed."""
        gone = {"closed": True, "version": self.edition.version}
        return [*self.written, *(row.model_copy(update=gone) for row in self.closed)]

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return not (self.added or self.changed or self.closed)


def read(
    file: str, header: Sequence[str], lines: Iterable[tuple[int, Mapping[str, str | None]]], known: Rows
) -> tuple[dict[str, AdministrationListed], list[WrongRow]]:
    """The rows of one file, and what is wrong with it.

    Args:
        lines: each row by column, with the number of its last line.
        known: rows that came before: the communes, and those of earlier files.
    """
    if missing := [name for name in COLUMNS if name not in header]:
        return {}, [WrongRow(file, 1, name, "this column is missing") for name in missing]
    rows: dict[str, AdministrationListed] = {}
    wrong: list[WrongRow] = []
    for line, cells in lines:
        row, found = _row({name: (cells.get(name) or "").strip() for name in COLUMNS})
        slug = (cells.get("slug") or "").strip()
        if None in cells:
            found = {"competence": "more cells than columns: text with commas stands between quotes"}
        elif slug in rows:
            found["slug"] = f"{slug} is on an earlier line already"
        elif row is not None and row.kind == "commune" and row.slug not in known:
            found["slug"] = f"no commune has the code of {slug}"
        wrong += [WrongRow(file, line, name, reason) for name, reason in found.items()]
        if row is not None and not found:
            rows[row.slug] = row
    return rows, wrong


def _row(cells: dict[str, str]) -> tuple[AdministrationListed | None, dict[str, str]]:
    found = {name: "empty" for name in ("slug", "name_fr", "name_ar", "kind") if not cells[name]}
    if cells["own_system"].lower() not in OWN_SYSTEM:
        found["own_system"] = f"{cells['own_system'][:40]!r} is neither true nor false"
    if found:
        return None, found
    given = {**cells, "parent": cells["parent"] or None, "own_system": OWN_SYSTEM[cells["own_system"].lower()]}
    try:
        return AdministrationListed.model_validate({**given, "version": 0}), {}
    except ValidationError as error:
        return None, {str(one["loc"][0]): str(one["msg"]) for one in error.errors()}


def orphans(file: str, rows: Rows, lines: Mapping[str, int], all_rows: Rows) -> list[WrongRow]:
    """Rows whose parent is in no file."""
    return [
        WrongRow(file, lines.get(row.slug, 0), "parent", f"no administration {row.parent}")
        for row in rows.values()
        if row.parent and row.parent not in all_rows
    ]


def communes(territories: Iterable[Mapping[str, str]]) -> dict[str, AdministrationListed]:
    """A row for each commune of the HCP's list, served by the desk until a file says otherwise."""
    rows = {}
    for place in territories:
        if place["level"] == "commune":
            name = place["name_fr"]
            elided = "d'" if name[:1].lower() in "aeiouàâéèêëîïôû" else "de "
            slug = COMMUNE + place["code"].replace(".", "-")
            rows[slug] = AdministrationListed(
                slug=slug,
                name_fr=f"Commune {elided}{name}",
                name_ar=f"جماعة {place['name_ar']}",
                kind="commune",
                own_system=False,
                version=0,
            )
    return rows


def difference(present: Edition, wanted: Rows) -> Changes:
    """What makes `wanted` of the present edition. An unchanged row keeps the version that brought it."""
    version = present.version + 1
    added, changed, rows = [], [], {}
    for slug, row in wanted.items():
        new, old = row.model_copy(update={"version": version}), present.rows.get(slug)
        if old is None:
            added.append(new)
        elif fields := _fields(old, row):
            changed.append(Changed(new, fields))
        else:
            new = old
        rows[slug] = new
    closed = tuple(row for slug, row in present.rows.items() if slug not in wanted)
    still_closed = {slug: row for slug, row in present.closed.items() if slug not in wanted}
    edition = Edition(version, rows, still_closed | {row.slug: row for row in closed})
    return Changes(edition, tuple(added), tuple(changed), closed)


def _fields(old: AdministrationListed, new: AdministrationListed) -> dict[str, tuple[object, object]]:
    return {
        name: (getattr(old, name), getattr(new, name)) for name in COLUMNS if getattr(old, name) != getattr(new, name)
    }
