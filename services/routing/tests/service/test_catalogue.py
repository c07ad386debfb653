"""The catalogue: what is wrong with rows, what an import changes, and its command on a real broker and database."""

import asyncio
import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from chikaya_contracts import topics
from chikaya_routing import cli
from chikaya_routing.adapters.mongo import MongoStore
from chikaya_routing.catalogue import LiveCatalogue
from chikaya_routing.domain.catalogue import COLUMNS, Edition, difference
from chikaya_routing.domain.places import TERRITORIES
from typer.testing import CliRunner

OURS = Path(cli.__file__).parent / "data" / "administrations.csv"
CNSS = {"slug": "cnss", "name_fr": "Caisse", "name_ar": "صندوق", "kind": "establishment", "own_system": "true"}
HABOUS = {
    "slug": "habous",
    "name_fr": "Habous",
    "name_ar": "أوقاف",
    "kind": "ministry",
    "competence": "mosquées, imams",
}

Write = Callable[..., Path]
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def made(*rows: Mapping[str, str], name: str = "a.csv", columns: Sequence[str] = COLUMNS) -> Path:
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path / name

    return made


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of territories with three communes."""
    kept = [
        line
        for number, line in enumerate(TERRITORIES.read_text("utf-8").splitlines())
        if number == 0 or any(f"commune,{code}," in line for code in ("06.141.01.0", "04.421.01.0", "01.511.01.0"))
    ]
    path = tmp_path_factory.mktemp("few") / "territories.csv"
    path.write_text("\n".join(kept), "utf-8")
    return path


def wrong(files: Sequence[Path], territories: Path) -> list[tuple[int, str]]:
    return [(one.line, one.field) for one in cli.wanted_rows(files, territories)[1]]


def test_the_project_s_own_catalogue_is_right() -> None:
    rows, found = cli.wanted_rows([OURS], TERRITORIES)
    assert found == []
    assert len(rows) == 50 + 1503
    own = {slug for slug, row in rows.items() if row.own_system}
    ten = {"cnss", "onee", "dgi", "narsa", "dgsn", "education", "sante", "ancfcc", "poste", "anrt"}
    assert own == {*ten, "commune-06-141-01-0"}
    assert rows["commune-04-421-01-0"].name_fr == "Commune de Rabat"
    assert rows["commune-01-511-01-0"].inbox == topics.INBOX.named("desk").name


def test_every_wrong_row_is_named_by_line_and_field(write: Write, few: Path) -> None:
    file = write(
        CNSS,
        {**HABOUS, "kind": "office"},
        {**HABOUS, "slug": "Habous !"},
        {**HABOUS, "slug": "x", "own_system": "maybe"},
        {**HABOUS, "slug": "y", "name_ar": " "},
        {**CNSS, "name_fr": "encore"},
        {**HABOUS, "slug": "commune-99-999-99-0", "kind": "commune"},
    )
    expected = [(3, "kind"), (4, "slug"), (5, "own_system"), (6, "name_ar"), (7, "slug"), (8, "slug")]
    assert wrong([file], few) == expected
    assert wrong([write(HABOUS, name="b.csv", columns=[*COLUMNS[:-1]])], few) == [(1, "own_system")]
    assert wrong([write({**HABOUS, "parent": "nobody"}, name="c.csv")], few) == [(2, "parent")]
    broken = write(HABOUS, name="d.csv")
    broken.write_bytes(broken.read_bytes() + b"\xff\xfe")
    assert [field for _, field in wrong([broken], few)] == ["file"]


def test_text_with_commas_needs_its_quotes(write: Write, few: Path) -> None:
    file = write(HABOUS)
    file.write_text(file.read_text("utf-8").replace('"mosquées, imams"', "mosquées, imams"), "utf-8")
    assert wrong([file], few) == [(2, "competence")]


def test_an_import_says_what_it_changes_field_by_field(make: Any) -> None:
    first = difference(Edition(), {slug: make.listed(slug) for slug in ("cnss", "onee", "oncf")})
    assert [row.slug for row in first.added] == ["cnss", "onee", "oncf"]
    wanted = {"cnss": make.listed("cnss", own_system=True), "onee": make.listed("onee"), "new": make.listed("new")}
    second = difference(first.edition, wanted)
    assert [(one.row.slug, one.fields) for one in second.changed] == [("cnss", {"own_system": (False, True)})]
    assert ([row.slug for row in second.added], [row.slug for row in second.closed]) == (["new"], ["oncf"])
    assert {row.slug: row.closed for row in second.told} == {"new": False, "cnss": False, "oncf": True}
    assert {row.slug: row.version for row in second.edition.rows.values()} == {"cnss": 2, "onee": 1, "new": 2}
    assert second.edition.find("oncf")
    third = difference(second.edition, {**wanted, "oncf": make.listed("oncf")})
    assert [row.slug for row in third.added] == ["oncf"]
    assert third.edition.closed == {}
    assert difference(third.edition, {**wanted, "oncf": make.listed("oncf")}).empty


@pytest.fixture
def run(kafka: Any, mongo_uri: str, database: str, monkeypatch: pytest.MonkeyPatch, few: Path) -> Run:
    """Runs `chikaya catalogue` with routing's environment."""
    given = {**kafka.environment("routing"), "CHIKAYA_MONGO_URI": mongo_uri, "CHIKAYA_MONGO_DATABASE": database}
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    def command(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(cli.app, [str(one) for one in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return command


def told(kafka: Any) -> list[tuple[str, bool, int]]:
    """(slug, own_system, version) of every record of the catalogue's topic."""

    async def read() -> list[tuple[str, bool, int]]:
        consumer = AIOKafkaConsumer(topics.CATALOGUE.name, auto_offset_reset="earliest", **kafka.client("tracking"))
        await consumer.start()
        found, empty = [], 0
        while empty < 2:
            batches = await consumer.getmany(timeout_ms=500)
            empty = 0 if batches else empty + 1
            found += [json.loads(record.value or b"{}") for records in batches.values() for record in records]
        await consumer.stop()
        return [(row["slug"], row["own_system"], row["version"]) for row in found]

    return asyncio.run(read())


def test_an_import_is_tried_first_then_done_once_and_told(
    run: Run, write: Write, few: Path, kafka: Any, mongo_uri: str, database: str
) -> None:
    file = write(HABOUS)
    before = len(told(kafka))
    code, said = run("import", file, "--territories", few)
    assert code == 0
    assert "Would be done (say --yes)" in said
    assert "4 added (3 communes)" in said
    assert "empty" in run("list")[1]
    code, said = run("import", file, "--territories", few, "--yes", "--json")
    assert json.loads(said) | {"added": []} == {
        "version": 1, "done": True, "added": [], "changed": {}, "closed": [], "in_force": 4
    }  # fmt: skip
    assert len(told(kafka)) == before + 4
    assert "Nothing to do" in run("import", file, "--territories", few, "--yes")[1]
    file = write({**HABOUS, "competence": "mosquées"}, CNSS)
    changed = json.loads(run("import", file, "--territories", few, "--yes", "--json")[1])
    assert changed["changed"] == {"habous": {"competence": ["mosquées, imams", "mosquées"]}}
    assert told(kafka)[before + 4 :] == [("cnss", True, 2), ("habous", False, 2)]
    closing = json.loads(run("import", write(CNSS), "--territories", few, "--yes", "--json")[1])
    assert (closing["closed"], closing["version"]) == (["habous"], 3)
    assert told(kafka)[-1] == ("habous", False, 3)
    rows = json.loads(run("list", "--json")[1])
    assert [(row["slug"], row["inbox"]) for row in rows] == [("cnss", topics.INBOX.named("cnss").name)]
    assert "commune-04-421-01-0" in run("list", "--kind", "commune", "--json")[1]

    async def taken_over() -> None:
        store = MongoStore(mongo_uri, database)
        catalogue = LiveCatalogue(store)
        assert await catalogue.refresh() == 0
        assert (catalogue.edition.version, set(catalogue.edition.closed)) == (3, {"habous"})
        await store.close()

    asyncio.run(taken_over())


def test_a_row_with_topics_of_its_own_waits_for_them(run: Run, write: Write, few: Path, kafka: Any) -> None:
    file = write(CNSS, {**CNSS, "slug": "narsa", "name_fr": "Narsa"})
    before = len(told(kafka))
    for more in ((), ("--yes",)):
        code, said = run("import", file, "--territories", few, *more)
        assert code == 1
        assert "there are no topics for: narsa" in said
        assert f"chikaya topics provision --administrations {file} --credentials FILE --yes" in said
    assert len(told(kafka)) == before
    assert "empty" in run("list")[1]


def test_nothing_is_imported_while_a_row_is_wrong(run: Run, write: Write, few: Path) -> None:
    file = write(CNSS, {**HABOUS, "kind": "office"})
    code, said = run("import", file, "--territories", few, "--yes")
    assert code == 1
    assert f"{file}, line 3, kind:" in said
    code, said = run("import", file, "--territories", few, "--yes", "--json")
    assert (code, json.loads(said)["errors"][0]["line"]) == (1, 3)


def test_what_is_away_is_named(run: Run, write: Write, few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIKAYA_MONGO_URI", "mongodb://127.0.0.1:9/?directConnection=true")
    code, said = run("import", write(HABOUS), "--territories", few, "--yes")
    assert (code, "CHIKAYA_MONGO_URI" in said) == (1, True)
