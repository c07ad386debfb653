"""What was sent, kept in one SQLite file so that it survives a restart. Bounded: the latest 50,000 messages."""

import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Kind = Literal["email", "sms"]

KEPT = 50_000
TRIM_EVERY = 500

SCHEMA = """
CREATE TABLE IF NOT EXISTS copies (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at TEXT NOT NULL,
    recipient TEXT NOT NULL,
    repeat_key TEXT,
    repeat INTEGER NOT NULL,
    raw BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_recipient ON copies (recipient, key);
CREATE INDEX IF NOT EXISTS by_repeat_key ON copies (repeat_key) WHERE repeat_key IS NOT NULL;
"""


@dataclass(frozen=True)
class Copy:
    """One copy of a message, for one recipient.

    `key` grows with each arrival; `repeat` marks a copy of an earlier message; `raw` is what came (of an SMS, the
    JSON), empty where it was not asked for.
    """

    key: int
    id: str
    kind: Kind
    at: str
    recipient: str
    repeat: bool
    raw: bytes = b""


COLUMNS = ("key", "id", "kind", "at", "recipient", "repeat", "raw")
REPEAT = COLUMNS.index("repeat")


class Store:
    """Copies in order of arrival, kept as they came and read when somebody looks. Every write is committed before the
    method returns.

    Args:
        path: the SQLite file; its folder is created.
        kept: how many of the latest messages stay.
        now: the clock, UTC.
    """

    def __init__(self, path: Path, kept: int = KEPT, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._kept = kept
        self._now = now
        self._db = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        # WAL with NORMAL keeps what was committed through kill -9 of this process, and takes 200 mails/s in stride.
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)
        self._since_trim = 0
        self._trim()

    def close(self) -> None:
        self._db.close()

    def add(
        self, kind: Kind, *, recipient: str, raw: bytes, id: str | None = None, repeat_key: str | None = None
    ) -> Copy:
        """Keeps one copy, marked `repeat` when `repeat_key` was seen before; a repeat carries the first copy's id."""
        first = None
        if repeat_key is not None:
            first = self._db.execute(
                "SELECT id FROM copies WHERE repeat_key = ? ORDER BY key LIMIT 1", (repeat_key,)
            ).fetchone()
        message_id = first[0] if first else id or str(uuid.uuid4())
        at = self._now().isoformat(timespec="milliseconds")
        repeat = first is not None
        recipient = recipient.strip().lower()
        cursor = self._db.execute(
            "INSERT INTO copies (id, kind, at, recipient, repeat_key, repeat, raw) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (message_id, kind, at, recipient, repeat_key, repeat, raw),
        )
        self._since_trim += 1
        if self._since_trim >= TRIM_EVERY:
            self._trim()
        return Copy(int(cursor.lastrowid or 0), message_id, kind, at, recipient, repeat, raw)

    def after(self, key: int, *, limit: int, to: str = "", kind: Kind | None = None, raw: bool = True) -> list[Copy]:
        """Copies with a greater key, oldest first; `to` is the exact recipient. Without `raw`, far cheaper."""
        return self._select("key > ?", [key], "ASC", limit, exact=to, kind=kind, raw=raw)

    def before(self, key: int | None, *, limit: int, containing: str = "", kind: Kind | None = None) -> list[Copy]:
        """Copies with a smaller key (None: the latest), newest first; `containing` is a part of the recipient."""
        where, values = ("key < ?", [key]) if key is not None else ("1", [])
        return self._select(where, values, "DESC", limit, containing=containing, kind=kind)

    def get(self, key: int) -> Copy | None:
        found = self._select("key = ?", [key], "ASC", 1)
        return found[0] if found else None

    def count(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM copies").fetchone()[0])

    def clear(self) -> int:
        """Deletes everything; says how many there were. Keys go on growing, so a reader's place stays good."""
        return self._db.execute("DELETE FROM copies").rowcount

    def _select(
        self,
        where: str,
        values: list[int],
        order: Literal["ASC", "DESC"],
        limit: int,
        *,
        exact: str = "",
        containing: str = "",
        kind: Kind | None = None,
        raw: bool = True,
    ) -> list[Copy]:
        parameters: list[int | str] = [*values]
        if exact:
            where, parameters = f"{where} AND recipient = ?", [*parameters, exact.strip().lower()]
        if containing:
            where, parameters = f"{where} AND instr(recipient, ?)", [*parameters, containing.strip().lower()]
        if kind is not None:
            where, parameters = f"{where} AND kind = ?", [*parameters, kind]
        columns = COLUMNS if raw else COLUMNS[:-1]
        # Only constants are put into the statement; what a person typed goes through parameters.
        statement = f"SELECT {', '.join(columns)} FROM copies WHERE {where} ORDER BY key {order} LIMIT ?"  # noqa: S608
        rows = self._db.execute(statement, (*parameters, limit)).fetchall()
        return [Copy(**dict(zip(columns, row, strict=True)) | {"repeat": bool(row[REPEAT])}) for row in rows]

    def _trim(self) -> None:
        self._since_trim = 0
        self._db.execute("DELETE FROM copies WHERE key <= (SELECT max(key) FROM copies) - ?", (self._kept,))
