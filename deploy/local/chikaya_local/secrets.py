"""The secrets of one stack: made once, at random, kept in a file that only its owner can read, never committed."""

import json
import os
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from chikaya_local.errors import CannotStart

MONGO_USERS = ("admin", "intake", "routing", "tracking", "notification", "desk")
CHANNELS = ("portal", "callcenter", "app", "kiosk")
STAFF_SITES = ("routing", "tracking", "desk", "callcenter")
SESSION_SITES = (*STAFF_SITES, "portal")


def _random() -> str:
    return secrets.token_urlsafe(32)


class Secrets(BaseModel):
    """Everything that a stack keeps to itself. A field added later is filled in when an older file is read."""

    model_config = ConfigDict(frozen=True)

    kafka_admin: str = Field(default_factory=_random)
    kafka_broker: str = Field(default_factory=_random)
    mongo: dict[str, str] = Field(default_factory=dict)
    """Database user → password; `admin` is root."""
    access_code_secret: str = Field(default_factory=_random)
    verifier_key: str = Field(default_factory=_random)
    attachment_link_secret: str = Field(default_factory=_random)
    sms_token: str = Field(default_factory=_random)
    channel_keys: dict[str, str] = Field(default_factory=dict)
    """Channel → its key at intake."""
    oidc_clients: dict[str, str] = Field(default_factory=dict)
    """Site with staff pages → its client secret at the identity provider."""
    sessions: dict[str, str] = Field(default_factory=dict)
    """Site → what it signs its cookies with."""


WANTED = {"mongo": MONGO_USERS, "channel_keys": CHANNELS, "oidc_clients": STAFF_SITES, "sessions": SESSION_SITES}


def load(directory: Path) -> Secrets:
    """The secrets kept in `directory`/secrets.json; what is missing is made, and kept from then on.

    Raises:
        CannotStart: the file cannot be read as secrets.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    path = directory / "secrets.json"
    kept: object = None
    found = Secrets()
    if path.exists():
        path.chmod(0o600)
        try:
            kept = json.loads(path.read_text("utf-8"))
            found = Secrets.model_validate(kept)
        except ValueError as error:  # never the error's own text: it may quote a secret
            raise CannotStart(
                f"{path} is damaged ({type(error).__name__}): restore it, or remove {directory} to begin anew."
            ) from None
    full = found.model_copy(
        update={field: {name: _random() for name in names} | getattr(found, field) for field, names in WANTED.items()}
    )
    if full.model_dump() != kept:
        _write_private(path, full.model_dump_json(indent=2))
    return full


def kafka_password(directory: Path, principal: str) -> str:
    """The password of a Kafka user, as kept by `chikaya topics provision` in `directory`/kafka-credentials.json.

    Raises:
        KeyError: provisioning has not (yet) made that user.
    """
    path = directory / "kafka-credentials.json"
    known: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if principal not in known:
        raise KeyError(f"no Kafka user {principal} in {path}: topics are not provisioned")
    return known[principal]


def _write_private(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
