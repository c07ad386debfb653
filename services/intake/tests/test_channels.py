"""Keys: whose they are, and the command that gives and voids them."""

import json
from typing import Any

import pytest
from chikaya_intake import cli
from chikaya_intake.channels import Keyring, key_hash, new_key
from chikaya_intake.stores import Channel
from typer.testing import CliRunner

WINDOW = CliRunner()


async def test_a_new_key_works_at_once_and_a_voided_one_for_seconds(memory: Any) -> None:
    channels, now = memory.Channels(), 0.0
    keyring = Keyring(channels, lambda: now)
    key = new_key()
    assert await keyring.channel_of(key) is None
    await channels.add(Channel("portal", key_hash(key), memory.NOON))
    now = 1.0
    assert await keyring.channel_of(key) == "portal"
    await channels.revoke("portal")
    now = 10.0
    assert await keyring.channel_of(key) == "portal"
    now = 11.0
    assert await keyring.channel_of(key) is None


async def test_unknown_keys_do_not_reach_the_store_each_time(memory: Any) -> None:
    channels, asked = memory.Channels(), 0
    real = channels.all

    async def counted() -> list[Channel]:
        nonlocal asked
        asked += 1
        found: list[Channel] = await real()
        return found

    channels.all = counted
    keyring = Keyring(channels, lambda: 0.0)
    for _ in range(50):
        assert await keyring.channel_of("guess") is None
    assert asked == 1


def test_keys_are_long_and_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert min(map(len, keys)) == 43


@pytest.fixture
def channels_command(database: Any, mongo_uri: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `chikaya channels …` on a database of its own and gives what it prints."""
    monkeypatch.setenv("CHIKAYA_MONGO_URI", mongo_uri)
    monkeypatch.setenv("CHIKAYA_MONGO_DATABASE", database.name)
    monkeypatch.delenv("CHIKAYA_CHANNEL_KEY", raising=False)

    def run(*words: str, status: int = 0) -> Any:
        result = WINDOW.invoke(cli.app, [*words, *([] if status else ["--json"])])
        assert result.exit_code == status, result.output
        return json.loads(result.output) if not status else result.output

    return run


def test_a_channel_is_added_once_listed_and_revoked(channels_command: Any) -> None:
    added = channels_command("add", "kiosk-rabat")
    assert (added["done"], len(added["key"])) == ("added", 43)
    assert channels_command("add", "kiosk-rabat") == {"channel": "kiosk-rabat", "done": "unchanged"}
    assert [row["channel"] for row in channels_command("list")] == ["kiosk-rabat"]
    assert channels_command("revoke", "kiosk-rabat")["done"] == "revoked"
    assert channels_command("list") == []
    channels_command("revoke", "kiosk-rabat", status=1)


def test_a_key_that_is_given_is_never_shown(channels_command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, done in (("g" * 43, "added"), ("g" * 43, "unchanged"), ("h" * 43, "changed")):
        monkeypatch.setenv("CHIKAYA_CHANNEL_KEY", key)
        assert channels_command("add", "portal") == {"channel": "portal", "done": done}
    monkeypatch.setenv("CHIKAYA_CHANNEL_KEY", "short")
    channels_command("add", "portal", status=1)


@pytest.mark.parametrize("name", ["Portal", "a b", "-a", "a--b", "é", "a" * 61])
def test_a_name_that_no_topic_could_have_is_refused(channels_command: Any, name: str) -> None:
    channels_command("add", "--", name, status=1)


def test_the_command_is_registered_with_chikaya() -> None:
    from importlib.metadata import entry_points

    assert {entry.name: entry.value for entry in entry_points(group="chikaya.commands")}["channels"] == (
        "chikaya_intake.cli:app"
    )
