"""`chikaya catalogue`: the administrations that complaints are relayed to. Run with routing's own settings."""

import asyncio
import csv
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from aiokafka.errors import KafkaError
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_servicekit.clock import utc_now
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.publishing import KafkaPublisher
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.table import Table

from chikaya_routing.adapters.mongo import MongoStore
from chikaya_routing.domain.catalogue import Changes, WrongRow, communes, difference, orphans, read
from chikaya_routing.domain.places import TERRITORIES
from chikaya_routing.domain.routing import SOURCE
from chikaya_routing.settings import CatalogueSettings

app = typer.Typer(name="catalogue", no_args_is_help=True, help="The administrations that complaints are relayed to.")
out, err = Console(), Console(stderr=True)

SHOWN_ROWS = 40
T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.command("import")
def import_catalogue(
    files: Annotated[
        list[Path],
        typer.Argument(
            exists=True, dir_okay=False, help="CSV: slug,name_fr,name_ar,kind,parent,competence,own_system."
        ),
    ],
    territories: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="The HCP's list, for a row for each commune.")
    ] = TERRITORIES,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the catalogue what FILES and the list of communes say. What is in neither is closed. Safe to repeat."""
    wanted, wrong = wanted_rows(files, territories)
    if wrong:
        _refuse(wrong, as_json)
    changes = _connected(lambda store, publisher: import_rows(store, publisher, wanted, yes, files))
    _show(changes, yes, as_json)


@app.command("list")
def list_catalogue(
    kind: Annotated[str, typer.Option(help="ministry, department, establishment or commune; all but communes.")] = "",
    as_json: AsJson = False,
) -> None:
    """Administrations in force, and the topic that each reads its dossiers from."""
    edition = _connected(lambda store, _: store.edition())
    rows = [row for row in edition.rows.values() if (row.kind == kind if kind else row.kind != "commune")]
    if as_json:
        typer.echo(json.dumps([row.model_dump(mode="json") | {"inbox": row.inbox} for row in rows], ensure_ascii=False))
    elif not edition.version:
        out.print("The catalogue is empty: chikaya catalogue import FILE --yes")
    else:
        grid = Table("slug", "name", "kind", "parent", "inbox", title=f"Catalogue, version {edition.version}")
        for row in rows:
            grid.add_row(row.slug, row.name_fr, row.kind, row.parent or "", row.inbox)
        out.print(grid)
        if not kind:
            out.print(f"and {sum(row.kind == 'commune' for row in edition.rows.values())} communes: --kind commune")


def wanted_rows(files: Sequence[Path], territories: Path) -> tuple[dict[str, AdministrationListed], list[WrongRow]]:
    """All rows that files ask for, and what is wrong with them. A file's row of a commune goes before the list's."""
    rows = communes(_cells(territories)[1])
    wrong: list[WrongRow] = []
    lines: dict[Path, dict[str, int]] = {}
    own: dict[Path, Mapping[str, AdministrationListed]] = {}
    for file in files:
        try:
            header, cells, numbers = _numbered(file)
        except (UnicodeDecodeError, csv.Error) as error:
            wrong.append(WrongRow(str(file), 1, "file", f"not a CSV file in UTF-8: {error}"))
            continue
        own[file], found = read(str(file), header, zip(numbers, cells, strict=True), rows)
        lines[file] = {(row.get("slug") or "").strip(): line for row, line in zip(cells, numbers, strict=True)}
        wrong += found
        rows |= own[file]
    if not wrong:
        wrong = [one for file, of_file in own.items() for one in orphans(str(file), of_file, lines[file], rows)]
    return rows, wrong


async def import_rows(
    store: MongoStore, publisher: KafkaPublisher, wanted: Mapping[str, AdministrationListed], yes: bool, files: Any
) -> Changes:
    """What makes the catalogue what is wanted; done if `yes`. Told before it is kept: a repeat tells the same again.

    Raises:
        typer.Exit: a row's own topics are not there, or another import came between.
    """
    changes = difference(await store.edition(), wanted)
    inboxes = {row.inbox: row.slug for row in changes.written if row.own_system}
    if inboxes and (missing := await publisher.missing(set(inboxes))):
        slugs = ", ".join(sorted(inboxes[name] for name in missing))
        named = " ".join(f"--administrations {file}" for file in files)
        raise _fail(
            f"own_system is true, and there are no topics for: {slugs}. As Kafka's administrator, first: "
            f"chikaya topics provision {named} --credentials FILE --yes"
        )
    if yes and not changes.empty:
        at = utc_now()
        told: list[Event[Message]] = [
            Event(consequence_id(f"catalogue {row.version}", row.TYPE, row.slug), SOURCE, at, row, row.TOPIC.name)
            for row in changes.told
        ]
        await publisher.publish(told)
        if not await store.keep_edition(changes.edition):
            raise _fail("Another import came between. Run this again: it starts from what that one has left.")
    return changes


def _connected(work: Callable[[MongoStore, KafkaPublisher], Awaitable[T]]) -> T:
    settings = CatalogueSettings()

    async def connected() -> T:
        store = MongoStore(settings.mongo_uri.get_secret_value(), settings.mongo_database)
        publisher = KafkaPublisher("routing", settings.kafka_client())
        try:
            return await work(store, publisher)
        finally:
            await publisher.stop()
            await store.close()

    try:
        return asyncio.run(connected())
    except PyMongoError as error:
        raise _fail(f"Routing's database (CHIKAYA_MONGO_URI, as routing has it) refused: {error}") from None
    except (KafkaError, DependencyDown, OSError) as error:
        raise _fail(f"Kafka at {settings.kafka_bootstrap} (CHIKAYA_KAFKA_BOOTSTRAP) refused: {error}") from None


def _cells(file: Path) -> tuple[Sequence[str], list[dict[str, str]]]:
    header, cells, _ = _numbered(file)
    return header, cells


def _numbered(file: Path) -> tuple[Sequence[str], list[dict[str, str]], list[int]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        cells, numbers = [], []
        for row in reader:
            cells.append(row)
            numbers.append(reader.line_num)
        return reader.fieldnames or (), cells, numbers


def _fail(message: str) -> typer.Exit:
    err.print(message, style="red", markup=False, soft_wrap=True)
    return typer.Exit(1)


def _refuse(wrong: Sequence[WrongRow], as_json: bool) -> None:
    """Raises:
    typer.Exit: always, with all that is wrong said.
    """
    if as_json:
        rows = [{"file": one.file, "line": one.line, "field": one.field, "reason": one.reason} for one in wrong]
        typer.echo(json.dumps({"errors": rows}, ensure_ascii=False))
        raise typer.Exit(1)
    said = "\n".join(f"{one.file}, line {one.line}, {one.field}: {one.reason}" for one in wrong)
    raise _fail(f"{said}\nNothing was imported: mend these rows first.")


def _show(changes: Changes, yes: bool, as_json: bool) -> None:
    if as_json:
        document = {
            "version": changes.edition.version - changes.empty,
            "done": yes and not changes.empty,
            "added": [row.slug for row in changes.added],
            "changed": {
                one.row.slug: {name: list(pair) for name, pair in one.fields.items()} for one in changes.changed
            },
            "closed": [row.slug for row in changes.closed],
            "in_force": len(changes.edition.rows),
        }
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    if changes.empty:
        out.print(f"Nothing to do: the catalogue has these {len(changes.edition.rows)} rows already.")
        return
    rows: list[tuple[str, ...]] = [
        *(("add", row.slug, "", "", row.name_fr) for row in changes.added if row.kind != "commune" or row.own_system),
        *(
            ("change", one.row.slug, name, str(old), str(new))
            for one in changes.changed
            for name, (old, new) in one.fields.items()
        ),
        *(("close", row.slug, "", row.name_fr, "") for row in changes.closed),
    ]
    grid = Table("change", "slug", "field", "from", "to", title="Done" if yes else "Would be done (say --yes)")
    for cells in rows[:SHOWN_ROWS]:
        grid.add_row(*cells)
    out.print(grid)
    if len(rows) > SHOWN_ROWS:
        out.print(f"and {len(rows) - SHOWN_ROWS} more: --json shows all")
    out.print(
        f"{len(changes.added)} added ({sum(row.kind == 'commune' for row in changes.added)} communes), "
        f"{len(changes.changed)} changed, {len(changes.closed)} closed; "
        f"{len(changes.edition.rows)} in force, version {changes.edition.version}"
    )
