"""`chikaya`: the operator's command. Services add theirs through the entry-point group `chikaya.commands`."""

import asyncio
import csv
import json
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError
from chikaya_contracts.topics import table
from confluent_kafka import KafkaException
from rich.console import Console
from rich.table import Table

from . import provisioning, replay
from .dead_letters import DeadLetter
from .faults import DependencyDown, TooLarge
from .publishing import KafkaPublisher
from .settings import ServiceSettings

app = typer.Typer(no_args_is_help=True, help="Operate the complaint pipeline.", pretty_exceptions_enable=False)
topics_app = typer.Typer(no_args_is_help=True, help="Topics, their users and rights, and how far consumers are behind.")
letters_app = typer.Typer(no_args_is_help=True, help="Records that could not be processed.")
app.add_typer(topics_app, name="topics")
app.add_typer(letters_app, name="dead-letters")

out, err = Console(), Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of a table.")]
Service = Annotated[str, typer.Argument(help="intake, routing, tracking, notification or desk")]


class OperatorSettings(ServiceSettings):
    """Who the operator is on Kafka: `CHIKAYA_KAFKA_BOOTSTRAP`, `_USER`, `_PASSWORD`, `_SECURITY`."""

    SERVICE = "operator"


def show(rows: list[dict[str, Any]], title: str, as_json: bool, empty: str) -> None:
    """A list as a table for people, or JSON for machines."""
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, default=str))
    elif not rows:
        out.print(empty)
    else:
        grid = Table(title=title)
        for name in rows[0]:
            grid.add_column(name, overflow="fold")
        for row in rows:
            grid.add_row(*(str(value) for value in row.values()))
        out.print(grid)


def _fail(message: str) -> typer.Exit:
    err.print(f"[red]{message}[/red]")
    return typer.Exit(1)


def _reaching_kafka(work: Callable[[], Any]) -> Any:
    settings = OperatorSettings()
    try:
        return work()
    except (KafkaException, KafkaError, DependencyDown, TooLarge, OSError) as error:
        raise _fail(f"Kafka at {settings.kafka_bootstrap} (CHIKAYA_KAFKA_BOOTSTRAP) refused: {error}") from None


def own_systems(catalogue: Path | None) -> list[str]:
    """The administrations of a catalogue file that have a system, and so a topic pair, of their own."""
    if catalogue is None:
        return []
    with catalogue.open(encoding="utf-8") as lines:
        return [
            row["slug"] for row in csv.DictReader(lines) if row.get("own_system", "").lower() in ("true", "1", "yes")
        ]


@topics_app.command("provision")
def provision(
    administrations: Annotated[
        Path | None, typer.Option(help="Catalogue CSV; rows with own_system=true get a topic pair.", exists=True)
    ] = None,
    channel: Annotated[
        list[str], typer.Option("--channel", help="External channel to give topics to; may be repeated.")
    ] = [],  # noqa: B006
    credentials: Annotated[
        Path | None, typer.Option(help="JSON file of principals' passwords; new ones are added to it.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create topics, access rights and users from the table in contracts. Run as Kafka's administrator."""
    settings = OperatorSettings()
    own = own_systems(administrations)
    admin = provisioning.admin_client(settings)

    def work() -> provisioning.Plan:
        brokers = len(admin.list_topics(timeout=provisioning.TIMEOUT_S).brokers)
        todo = provisioning.plan(admin, own, channel)
        if todo.users and credentials is None:
            raise _fail(f"{len(todo.users)} users to make ({', '.join(todo.users[:5])}…): say --credentials FILE")
        if yes and not todo.empty:
            passwords = provisioning.passwords_for(todo.users, credentials) if credentials else {}
            provisioning.apply(settings, todo, brokers, passwords, lambda what: err.print(f"  {what}"))
        return todo

    todo = _reaching_kafka(work)
    rows = [
        *({"change": "topic", "what": t.name, "detail": f"{t.partitions} partitions"} for t in todo.topics),
        *({"change": "setting", "what": name, "detail": json.dumps(values)} for name, values in todo.settings),
        *({"change": "user", "what": name, "detail": ""} for name in todo.users),
        *({"change": "right", "what": r.name, "detail": f"{r.principal} {r.operation.name}"} for r in todo.rights),
    ]
    show(rows, "Done" if yes else "Would be done (say --yes)", as_json, "Nothing to do: all is as the table says.")


@topics_app.command("list")
def list_topics(as_json: AsJson = False) -> None:
    """The table of topics: who writes, who reads, how long records are kept."""
    rows = [
        {
            "topic": row.name,
            "key": row.key,
            "writers": ", ".join(row.writers),
            "readers": ", ".join(row.readers),
            "partitions": row.partitions,
            "days kept": row.retention_days or ("last of each key" if row.compacted else "for ever"),
            "personal data": "yes" if row.personal_data else "no",
        }
        for row in table()
    ]
    show(rows, "Topics", as_json, "")


@topics_app.command("lag")
def lag(as_json: AsJson = False) -> None:
    """How many records each consumer group still has to read."""
    found = _reaching_kafka(lambda: asyncio.run(replay.lags(OperatorSettings().kafka_client())))
    rows = [{"group": one.group, "topic": one.topic, "lag": one.records} for one in found]
    show(rows, "Consumer lag", as_json, "No consumer group has committed yet.")


async def _letters(service: str) -> list[DeadLetter]:
    return [letter async for letter in replay.letters(OperatorSettings().kafka_client(), service)]


def _read(service: str) -> list[DeadLetter]:
    if service not in provisioning.SERVICES:
        raise _fail(f"no service {service}: one of {', '.join(provisioning.SERVICES)}")
    found: list[DeadLetter] = _reaching_kafka(lambda: asyncio.run(_letters(service)))
    return found


@letters_app.command("list")
def list_letters(service: Service, as_json: AsJson = False) -> None:
    """Dead letters of a service, oldest first."""
    rows = [
        {
            "offset": letter.offset,
            "failed": letter.last_failed_at.isoformat(timespec="seconds"),
            "type": letter.type,
            "from": f"{letter.original_topic}[{letter.original_partition}]@{letter.original_offset}",
            "attempts": letter.attempts,
            "reason": letter.reason,
        }
        for letter in _read(service)
    ]
    show(rows, f"Dead letters of {service}", as_json, f"{service} has no dead letters.")


def _one(service: str, offset: int) -> DeadLetter:
    for letter in _read(service):
        if letter.offset == offset:
            return letter
    raise _fail(f"{service} has no dead letter at offset {offset}: see `chikaya dead-letters list {service}`")


@letters_app.command("show")
def show_letter(service: Service, offset: int, as_json: AsJson = False) -> None:
    """One dead letter whole, its original bytes too. They may hold personal data: do not paste them elsewhere."""
    letter = _one(service, offset)
    whole = {
        "offset": letter.offset,
        "from": f"{letter.original_topic}[{letter.original_partition}]@{letter.original_offset}",
        "consumer": letter.consumer,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "first_failed_at": letter.first_failed_at.isoformat(),
        "last_failed_at": letter.last_failed_at.isoformat(),
        "key": (letter.key or b"").decode("utf-8", "backslashreplace"),
        "headers": {name: (value or b"").decode("utf-8", "backslashreplace") for name, value in letter.headers},
        "value": (letter.value or b"").decode("utf-8", "backslashreplace"),
    }
    if as_json:
        typer.echo(json.dumps(whole, ensure_ascii=False))
    else:
        out.print_json(data=whole)


@letters_app.command("replay")
def replay_letter(
    service: Service,
    offset: int,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send a dead letter back to the topic that it came from, with its key, marked as a replay."""
    letter = _one(service, offset)
    done = {"offset": offset, "to": letter.original_topic, "type": letter.type, "replayed": yes}
    if yes:

        async def work() -> None:
            publisher = KafkaPublisher("operator", OperatorSettings().kafka_client())
            try:
                await replay.replay(publisher, letter, service)
            finally:
                await publisher.stop()

        _reaching_kafka(lambda: asyncio.run(work()))
    show([done], "Replayed" if yes else "Would be replayed (say --yes)", as_json, "")


def main() -> None:
    """Loads the services' commands, then runs."""
    for entry in entry_points(group="chikaya.commands"):
        try:
            app.add_typer(entry.load(), name=entry.name)
        except ImportError as error:  # one service's command must not take the others away
            err.print(f"[yellow]`chikaya {entry.name}` cannot be loaded: {error}[/yellow]")
    app()


if __name__ == "__main__":
    main()
