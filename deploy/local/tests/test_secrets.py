"""Secrets are made once, kept where only their owner reads them, and never shown."""

import json
import stat
from pathlib import Path

import pytest
from chikaya_local import secrets
from chikaya_local.errors import CannotStart


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    secrets.load(tmp_path / "stack")
    assert mode(tmp_path / "stack") == 0o700
    assert mode(tmp_path / "stack" / "secrets.json") == 0o600


def test_they_stay_the_same(tmp_path: Path) -> None:
    assert secrets.load(tmp_path) == secrets.load(tmp_path)


def test_no_two_are_alike(tmp_path: Path) -> None:
    kept = secrets.load(tmp_path).model_dump()
    flat = [value for field in kept.values() for value in (field.values() if isinstance(field, dict) else [field])]
    assert len(set(flat)) == len(flat)
    assert all(len(value) >= 40 for value in flat)


def test_what_an_older_file_lacks_is_added(tmp_path: Path) -> None:
    first = secrets.load(tmp_path)
    path = tmp_path / "secrets.json"
    older = json.loads(path.read_text("utf-8"))
    del older["sms_token"], older["mongo"]["desk"]
    path.write_text(json.dumps(older), "utf-8")
    again = secrets.load(tmp_path)
    assert again.kafka_admin == first.kafka_admin
    assert again.sms_token != first.sms_token
    assert again.mongo["intake"] == first.mongo["intake"]
    assert secrets.load(tmp_path) == again


def test_a_damaged_file_is_named_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"kafka_admin": "half-a-secr', "utf-8")
    with pytest.raises(CannotStart, match=r"secrets\.json is damaged") as refused:
        secrets.load(tmp_path)
    assert "half-a-secr" not in str(refused.value)


def test_an_unknown_kafka_user_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="topics are not provisioned"):
        secrets.kafka_password(tmp_path, "intake")
