"""`chikaya channels`: who may file over HTTP."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import Annotated, Any, TypeVar

import typer
from chikaya_servicekit.clock import utc_now
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.table import Table

from .adapters import mongo
from .adapters.mongo import MongoChannels
from .channels import NAME, SHORTEST_KEY, key_hash, new_key
from .settings import DatabaseSettings
from .stores import Channel, Channels

app = typer.Typer(name="channels", no_args_is_help=True, help="The channels that file over HTTP, and their keys.")
out, err = Console(), Console(stderr=True)

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Name = Annotated[str, typer.Argument(help="Small letters, digits and dashes, for example portal or kiosk-rabat.")]


def _fail(message: str) -> typer.Exit:
    err.print(f"[red]{message}[/red]")
    return typer.Exit(1)


def _with_channels(work: Callable[[Channels], Awaitable[T]]) -> T:
    settings = DatabaseSettings()

    async def connected() -> T:
        database = mongo.connect(settings.mongo_uri.get_secret_value(), settings.mongo_database)
        try:
            return await work(MongoChannels(database))
        finally:
            database.client.close()

    try:
        return asyncio.run(connected())
    except PyMongoError as error:
        raise _fail(f"Intake's database (CHIKAYA_MONGO_URI, as intake has it) refused: {error}") from None


def _say(document: dict[str, Any], words: str, as_json: bool) -> None:
    typer.echo(json.dumps(document, ensure_ascii=False) if as_json else words)


async def put(channels: Channels, name: str, given: str | None) -> tuple[str, str | None]:
    """Sees to it that a channel has a key; gives what was done and, when it was made here, the key.

    Args:
        given: the key that it shall have; None makes one for a channel that has none.
    """
    present = next((channel for channel in await channels.all() if channel.name == name), None)
    if present and (given is None or present.key_hash == key_hash(given)):
        return "unchanged", None
    key = given or new_key()
    await channels.add(Channel(name, key_hash(key), utc_now()))
    return "changed" if present else "added", None if given else key


@app.command("add")
def add(name: Name, as_json: AsJson = False) -> None:
    """Give a channel a key, shown this once; or the key in CHIKAYA_CHANNEL_KEY. Safe to repeat."""
    given = os.environ.get("CHIKAYA_CHANNEL_KEY") or None
    if not NAME.fullmatch(name) or len(name) > 60:
        raise _fail(f"{name!r} is no channel's name: small letters, digits and single dashes, at most 60.")
    if given and len(given) < SHORTEST_KEY:
        raise _fail(f"CHIKAYA_CHANNEL_KEY has {len(given)} characters; a key has at least {SHORTEST_KEY}.")
    done, key = _with_channels(lambda channels: put(channels, name, given))
    words = {
        "added": f"Channel {name} may file." + (f" Its key, shown this once: {key}" if key else ""),
        "changed": f"Channel {name} has the key of CHIKAYA_CHANNEL_KEY now; the former one is void within 10 seconds.",
        "unchanged": f"Channel {name} has a key already: nothing to do. Revoke it to give another.",
    }[done]
    _say({"channel": name, "done": done, **({"key": key} if key else {})}, words, as_json)


@app.command("list")
def list_channels(as_json: AsJson = False) -> None:
    """Channels that have a key, and since when."""
    channels = _with_channels(lambda channels: channels.all())
    if as_json:
        rows = [{"channel": channel.name, "since": channel.since.isoformat()} for channel in channels]
        typer.echo(json.dumps(rows, ensure_ascii=False))
    elif not channels:
        out.print("No channel has a key yet: chikaya channels add NAME")
    else:
        table = Table("channel", "since")
        for channel in channels:
            table.add_row(channel.name, channel.since.astimezone(UTC).isoformat(timespec="seconds"))
        out.print(table)


@app.command("revoke")
def revoke(name: Name, as_json: AsJson = False) -> None:
    """Void a channel's key, within 10 seconds. What it has filed is kept."""
    if not _with_channels(lambda channels: channels.revoke(name)):
        raise _fail(f"Channel {name} has no key.")
    _say({"channel": name, "done": "revoked"}, f"The key of channel {name} is void within 10 seconds.", as_json)
