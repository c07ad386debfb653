"""`chikaya`: the operator's command. Services add theirs through the entry-point group `chikaya.commands`."""

import asyncio
import csv
import getpass
import json
import logging
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError
from chikaya_contracts.topics import SERVICES, table
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from rich.text import Text

from . import provisioning, replay
from .clock import utc_now
from .dead_letters import DeadLetter, Ledger, Mark
from .faults import DependencyDown, TooLarge
from .publishing import KafkaPublisher
from .replay import Chosen, LetterBox, Replay
from .settings import ServiceSettings

app = typer.Typer(no_args_is_help=True, help="Operate the complaint pipeline.", pretty_exceptions_enable=False)
topics_app = typer.Typer(no_args_is_help=True, help="Topics, their users and rights, and how far consumers are behind.")
letters_app = typer.Typer(no_args_is_help=True, help="Records that could not be processed.")
app.add_typer(topics_app, name="topics")
app.add_typer(letters_app, name="dead-letters")

out, err = Console(), Console(stderr=True)

PATIENCE_S = 2.0
IN_PART = 3
"""Exit code when something was done and something was not; 1: nothing could be; 2: the command was not understood."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of a table.")]


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
            grid.add_row(*(Text(_tame(str(value))) for value in row.values()))
        out.print(grid)


def _tame(text: str) -> str:
    """Text that strangers wrote, without what would move a terminal's cursor or colour its words."""
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


def _fail(message: str) -> typer.Exit:
    err.print(Text(_tame(message), style="red"))
    return typer.Exit(1)


def _reaching_kafka(work: Callable[[], Any]) -> Any:
    settings = OperatorSettings()
    try:
        return work()
    except replay.Absent as absent:
        raise _fail(f"{absent}. Is CHIKAYA_KAFKA_USER operator, and has `chikaya topics provision` been run?") from None
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
    found: list[replay.Lag] = _reaching_kafka(lambda: asyncio.run(replay.lags(OperatorSettings().kafka_client())))
    if as_json:
        rows = [
            {
                "group": one.group,
                "topic": one.topic,
                "lag": one.records,
                "members": one.members,
                "committed": one.committed,
            }
            for one in found
        ]
    else:
        rows = [{"group": one.group, "topic": one.topic, "lag": one.records, "state": _state(one)} for one in found]
    show(rows, "Consumer lag", as_json, "No consumer group of a service is there: none has run yet.")


def _state(lag: replay.Lag) -> str:
    if lag.committed:
        reading = "" if lag.records else "all read"
    else:
        reading = "nothing read yet" if lag.records else "nothing to read yet"
    return ", ".join(filter(None, [reading, "" if lag.members else "nobody reads"]))


def _when(text: str) -> datetime:
    """A time: `2026-03-02T09:00` (UTC unless it says otherwise), or so long ago: `90m`, `6h`, `2d`."""
    if ago := re.fullmatch(r"(\d+)([mhd])", text):
        return (
            utc_now()
            - int(ago[1]) * {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}[ago[2]]
        )
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text} is neither a time as 2026-03-02T09:00 nor so long ago as 90m, 6h, 2d"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _known(service: str) -> str:
    if service not in SERVICES:
        raise typer.BadParameter(f"no service {service}: one of {', '.join(SERVICES)}")
    return service


Service = Annotated[
    str, typer.Argument(parser=_known, metavar="SERVICE", help="intake, routing, tracking, notification or desk")
]
Offsets = Annotated[list[int] | None, typer.Argument(metavar="OFFSET", help="Only these, by their offset.")]
OfType = Annotated[
    str | None, typer.Option("--type", help="Only of this CloudEvents type, with or without `ma.chikaya.`.")
]
Reason = Annotated[str | None, typer.Option(help="Only with this in their reason; upper and lower case are alike.")]
FromTopic = Annotated[str | None, typer.Option("--topic", help="Only from this topic.")]
OfKey = Annotated[str | None, typer.Option("--key", help="Only of this key, such as a complaint's id.")]
Since = Annotated[
    datetime | None,
    typer.Option(parser=_when, metavar="TIME", help="Only failed since: 2026-03-02T09:00 (UTC), or ago: 90m, 6h, 2d."),
]
Until = Annotated[datetime | None, typer.Option(parser=_when, metavar="TIME", help="Only failed until; as --since.")]
All = Annotated[bool, typer.Option("--all", help="All that are open, where nothing else chooses.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")]
By = Annotated[str | None, typer.Option(help="Who does it, for the record; your user name unless said.")]


class Patience:
    """A bar on standard error for what takes longer than two seconds, and nothing for what does not."""

    def __init__(self, what: str) -> None:
        self._what, self._began = what, time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "Patience":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, of: int) -> None:
        """So much of so much is done."""
        if self._bar is None and err.is_terminal and time.monotonic() - self._began > PATIENCE_S:
            self._bar = Progress(console=err, transient=True)
            self._task = self._bar.add_task(self._what)
            self._bar.start()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=of)


@asynccontextmanager
async def _box(service: str) -> AsyncIterator[LetterBox]:
    async with replay.reading(OperatorSettings().kafka_client()) as consumer:
        yield LetterBox(consumer, service)


@asynccontextmanager
async def _publisher() -> AsyncIterator[KafkaPublisher]:
    publisher = KafkaPublisher("operator", OperatorSettings().kafka_client())
    try:
        yield publisher
    finally:
        await publisher.stop()


def _row(service: str, letter: DeadLetter, mark: Mark | None) -> dict[str, Any]:
    """A letter for machines, without its bytes."""
    return {
        "service": service,
        "offset": letter.offset,
        "state": mark.done if mark else "open",
        "type": letter.type,
        "key": None if letter.key is None else letter.key.decode("utf-8", "backslashreplace"),
        "topic": letter.original_topic,
        "partition": letter.original_partition,
        "original_offset": letter.original_offset,
        "timestamp": letter.timestamp,
        "consumer": letter.consumer,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "first_failed_at": letter.first_failed_at.isoformat(),
        "last_failed_at": letter.last_failed_at.isoformat(),
        "position": letter.position,
        "behind": letter.behind,
        **({} if mark is None else {"by": mark.by, "at": mark.at.isoformat(), "to": mark.to, "why": mark.why}),
    }


def _from(letter: DeadLetter) -> str:
    return f"{letter.original_topic}[{letter.original_partition}]@{letter.original_offset}"


def _told(mark: Mark | None) -> str:
    if mark is None:
        return "open"
    return f"{mark.done} by {mark.by}, {mark.at:%Y-%m-%d %H:%M}" + (f": {mark.why}" if mark.why else "")


@letters_app.command("list")
def list_letters(
    service: Annotated[
        str | None, typer.Argument(parser=_known, metavar="SERVICE", help="One service; else all.")
    ] = None,
    type_: OfType = None,
    reason: Reason = None,
    topic: FromTopic = None,
    key: OfKey = None,
    since: Since = None,
    until: Until = None,
    closed: Annotated[bool, typer.Option("--closed", help="Also those that were replayed or discarded.")] = False,
    as_json: AsJson = False,
) -> None:
    """Open dead letters, in the order in which their records came; of one service or of all."""
    chosen = Chosen(type=type_, reason=reason, topic=topic, key=key, since=since, until=until)

    async def read() -> list[tuple[str, DeadLetter, Mark | None]]:
        found = []
        with Patience("Reading dead letters") as told:
            for one in [service] if service else SERVICES:
                async with _box(one) as box:
                    await box.read(since=since, told=told)
                letters = box.ledger.letters() if closed else box.ledger.open()
                found += [(one, letter, box.ledger.mark(letter.offset)) for letter in letters if chosen.takes(letter)]
        return found

    found: list[tuple[str, DeadLetter, Mark | None]] = _reaching_kafka(lambda: asyncio.run(read()))
    rows = [
        _row(*one)
        if as_json
        else {
            **({} if service else {"service": one[0]}),
            "offset": letter.offset,
            "failed": f"{letter.last_failed_at:%Y-%m-%d %H:%M:%S}",
            "type": letter.type.removeprefix(replay.OURS),
            "key": (letter.key or b"").decode("utf-8", "backslashreplace"),
            "topic": letter.original_topic,
            **({"state": _told(one[2])} if closed else {}),
            "reason": letter.reason,
        }
        for one in found
        for letter in [one[1]]
    ]
    which = f"{'' if closed else 'open '}dead letter{'' if len(rows) == 1 else 's'} of {service or 'all services'}"
    narrowed = " that fit" if chosen != Chosen() else ""
    show(rows, f"{len(rows)} {which}; times are UTC", as_json, f"No {which}{narrowed}.")


@letters_app.command("show")
def show_letter(
    service: Service, offset: Annotated[int, typer.Argument(help="As `list` gives it.")], as_json: AsJson = False
) -> None:
    """One dead letter whole, its original bytes too. They may hold personal data: do not paste them elsewhere."""

    async def read() -> tuple[DeadLetter | None, Mark | None]:
        async with _box(service) as box:
            letter = (await box.whole([offset])).get(offset)
            if letter is not None:
                with Patience("Reading what was done about it") as told:
                    await box.read(start=offset, told=told)
            return letter, box.ledger.mark(offset)

    letter, mark = _reaching_kafka(lambda: asyncio.run(read()))
    if letter is None:
        raise _fail(f"{service} has no dead letter at offset {offset}: see `chikaya dead-letters list {service}`")
    whole = {
        **_row(service, letter, mark),
        "headers": {name: (value or b"").decode("utf-8", "backslashreplace") for name, value in letter.headers},
        "value": (letter.value or b"").decode("utf-8", "backslashreplace"),
    }
    if as_json:
        typer.echo(json.dumps(whole, ensure_ascii=False))
    else:
        out.print_json(data=whole)


def _chosen(offsets: list[int] | None, every: bool, by_filter: Chosen) -> Chosen:
    """What a command is to do something about.

    Raises:
        typer.BadParameter: nothing chooses, and `--all` does not say so.
    """
    chosen = replace(by_filter, offsets=frozenset(offsets or ()))
    if chosen == Chosen() and not every:
        raise typer.BadParameter("say which: offsets, --type, --reason, --topic, --key, --since, --until, or --all")
    return chosen


def _all_open(service: str, ledger: Ledger, chosen: Chosen) -> None:
    """Fails if an offset that is named is no open letter."""
    for offset in sorted(chosen.offsets):
        if ledger.letter(offset) is None:
            raise _fail(f"{service} has no dead letter at offset {offset}: see `chikaya dead-letters list {service}`")
        if mark := ledger.mark(offset):
            raise _fail(f"dead letter {offset} of {service} is closed: {_told(mark)}")


def _who(by: str | None) -> str:
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return OperatorSettings().principal


@letters_app.command("replay")
def replay_letters(
    service: Service,
    offsets: Offsets = None,
    type_: OfType = None,
    reason: Reason = None,
    topic: FromTopic = None,
    key: OfKey = None,
    since: Since = None,
    until: Until = None,
    every: All = False,
    yes: Yes = False,
    by: By = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for what the consumers make of it.", min=0)] = 15,
    as_json: AsJson = False,
) -> None:
    """Send dead letters back to where they came from, in order, marked as replays; says what became of each.

    Ends with 3 when some could not be replayed, failed again, or were not read in time.
    """
    chosen = _chosen(offsets, every, Chosen(type=type_, reason=reason, topic=topic, key=key, since=since, until=until))

    async def work() -> list[Replay]:
        async with _box(service) as box:
            with Patience("Reading dead letters") as told:
                await box.read(told=told)
            _all_open(service, box.ledger, chosen)
            todo = replay.plan(box.ledger, chosen)
            if not yes or not todo:
                return todo
            async with _publisher() as publisher:
                client = OperatorSettings().kafka_client()
                with Patience("Replaying") as told:
                    return await replay.work(box, client, publisher, todo, _who(by), wait, told)

    done: list[Replay] = _reaching_kafka(lambda: asyncio.run(work()))
    rows = [
        {
            "offset": one.letter.offset,
            "type": one.letter.type if as_json else one.letter.type.removeprefix(replay.OURS),
            "key": (one.letter.key or b"").decode("utf-8", "backslashreplace"),
            "to": f"{one.letter.original_topic}[{one.letter.original_partition}]"
            + ("" if one.to is None else f"@{one.to}"),
            "outcome": _outcome(one, yes),
        }
        for one in done
    ]
    show(rows, "Replayed" if yes else "Would be replayed (say --yes)", as_json, f"No open letter of {service} fits.")
    if yes and any(one.problem or one.again or not one.passed for one in done):
        raise typer.Exit(IN_PART)


def _outcome(one: Replay, yes: bool) -> str:
    if one.problem:
        return f"not replayed: {one.problem}"
    if not yes:
        return "would be replayed"
    if one.again:
        return f"set aside again, as {one.again.offset}: {one.again.reason}"
    return "taken in" if one.passed else "not read yet"


@letters_app.command("discard")
def discard_letters(
    service: Service,
    why: Annotated[str, typer.Option(help="The reason, for the record. No personal data.")],
    offsets: Offsets = None,
    type_: OfType = None,
    reason: Reason = None,
    topic: FromTopic = None,
    key: OfKey = None,
    since: Since = None,
    until: Until = None,
    every: All = False,
    yes: Yes = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Close dead letters that are not to be processed, and record who did it and why. What waits behind stays open."""
    chosen = _chosen(offsets, every, Chosen(type=type_, reason=reason, topic=topic, key=key, since=since, until=until))
    if not why.strip():
        raise typer.BadParameter("--why is empty: say the reason")

    async def work() -> tuple[list[DeadLetter], list[DeadLetter]]:
        async with _box(service) as box:
            with Patience("Reading dead letters") as told:
                await box.read(told=told)
            _all_open(service, box.ledger, chosen)
            letters = [letter for letter in box.ledger.open() if chosen.takes(letter)]
            lanes = {replay.lane(letter) for letter in letters if letter.blocks}
            left = [one for one in box.ledger.open() if replay.lane(one) in lanes and one not in letters]
            if yes and letters:
                async with _publisher() as publisher:
                    await box.discard(publisher, letters, _who(by), why.strip())
            return letters, left

    letters, left = _reaching_kafka(lambda: asyncio.run(work()))
    rows = [
        {
            "offset": letter.offset,
            "type": letter.type if as_json else letter.type.removeprefix(replay.OURS),
            "key": (letter.key or b"").decode("utf-8", "backslashreplace"),
            "from": _from(letter),
            "outcome": "discarded" if yes else "would be discarded",
        }
        for letter in letters
    ]
    show(rows, "Discarded" if yes else "Would be discarded (say --yes)", as_json, f"No open letter of {service} fits.")
    if left:
        names = ", ".join(str(letter.offset) for letter in left[:10]) + (" …" if len(left) > 10 else "")
        err.print(f"Open letters of the same keys: {names}. Later records wait behind them: replay or discard them.")


def main() -> None:
    """Loads the services' commands, then runs."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what is wrong is said once, by the command
    # Loading them all takes a second: only where they may be what is asked for.
    ours = next(iter(sys.argv[1:]), "") in {group.name for group in app.registered_groups}
    for entry in () if ours else entry_points(group="chikaya.commands"):
        try:
            app.add_typer(entry.load(), name=entry.name)
        except ImportError as error:  # one service's command must not take the others away
            err.print(f"[yellow]`chikaya {entry.name}` cannot be loaded: {error}[/yellow]")
    app()


if __name__ == "__main__":
    main()
