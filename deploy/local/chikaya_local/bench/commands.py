"""F3: a service's own database commands, recorded as its process sends them, then sent again with no logic around.

So the floor's mix of operations, its sizes, its flags (`w`, `j`) and what it does at the same time are those of the
service as it is now, whatever is changed in it. Run as a module it is the recorder: `… FILE MODULE …` runs MODULE as
its program, with what further arguments there are, and keeps its commands in FILE.
"""

import runpy
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.son import SON
from pymongo import MongoClient, monitoring

WORK = frozenset(
    {
        *("find", "aggregate", "count", "distinct"),
        *("insert", "update", "delete", "findAndModify", "bulkWrite", "createIndexes"),
    }
)
"""Commands that are work. Handshakes are not; `getMore` is sent again by whoever reads a cursor to its end."""
SESSION = frozenset({"lsid", "txnNumber", "$db", "$clusterTime", "$readPreference"})
"""What the driver adds to every command, and will add again."""
PLAIN: CodecOptions[Any] = CodecOptions(uuid_representation=bson.UuidRepresentation.STANDARD)
RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
MANY = {"insert": "documents", "update": "updates", "delete": "deletes"}
"""Commands that hold many operations, and where."""
AT_ONCE = 64
SHOWN = ("insert", "update", "delete", "find", "findAndModify", "count", "aggregate")
"""Kinds of operations that a table shows."""


class Recorder(monitoring.CommandListener):
    """Writes each command as it is sent, `{s: id, c: command}`, and a mark when it has been answered, `{f: id}`."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._one_at_a_time = out, threading.Lock()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in WORK:
            command = {name: value for name, value in event.command.items() if name not in SESSION}
            self._write({"s": event.request_id, "c": command})

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._finished(event.command_name, event.request_id)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._finished(event.command_name, event.request_id)

    def _finished(self, name: str, request_id: int) -> None:
        if name in WORK:
            self._write({"f": request_id})

    def _write(self, document: dict[str, Any]) -> None:
        encoded = bson.encode(document, codec_options=PLAIN)
        with self._one_at_a_time:
            self._out.write(encoded)


def recorded(file: Path) -> Iterator[RawBSONDocument]:
    """What a recorder has written; a last entry that was cut off is left out."""
    data, at = file.read_bytes(), 0
    while at + 4 <= len(data):
        end = at + int.from_bytes(data[at : at + 4], "little")
        if end > len(data):
            return
        yield RawBSONDocument(data[at:end])
        at = end


def replay(file: Path, uri: str, database: str) -> tuple[float, dict[str, int]]:
    """Sends recorded commands to `database`, in their order: one that was sent after another's answer is sent after
    that one's answer, those that were under way together are so again. Indexes are made as recorded, but not timed.

    Returns:
        Seconds, and how many operations of each kind (`insert`: documents; `update`, `delete`: statements; else 1).
    """
    log = list(recorded(file))
    operations: dict[str, int] = {}
    with MongoClient[RawBSONDocument](uri, document_class=RawBSONDocument, maxPoolSize=AT_ONCE) as client:
        target, under_way = client[database], dict[int, Future[None]]()

        def send(command: SON[str, Any]) -> None:
            answer = target.command(command, check=False, codec_options=RAW)
            cursor: Any = answer.get("cursor")
            while cursor and (more := cursor.get("id")):
                collection = command.get("find") or command.get("aggregate")
                cursor = target.command("getMore", more, collection=collection, codec_options=RAW)["cursor"]

        with ThreadPoolExecutor(AT_ONCE) as pool:
            begun, untimed = time.perf_counter(), 0.0
            for entry in log:
                if "f" in entry:
                    if future := under_way.pop(entry["f"], None):
                        future.result()
                    continue
                command = SON(entry["c"].items())
                name = next(iter(command))
                if name == "createIndexes":
                    before = time.perf_counter()
                    send(command)
                    untimed += time.perf_counter() - before
                    continue
                many: Any = command.get(MANY.get(name, ""), [None])
                operations[name] = operations.get(name, 0) + len(many)
                under_way[entry["s"]] = pool.submit(send, command)
            for future in under_way.values():
                future.result()
            seconds = time.perf_counter() - begun - untimed
        client.drop_database(database)
    return seconds, operations


if __name__ == "__main__":
    with Path(sys.argv[1]).open("wb", buffering=0) as out:
        monitoring.register(Recorder(out))
        sys.argv = sys.argv[2:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
