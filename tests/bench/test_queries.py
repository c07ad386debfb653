"""Every query that the code asks of its database: an index answers it, and reads little more than is returned.

Queries are not listed here: each service's suite of its store runs with a recorder of what its driver sends. Each kind
of query is then explained on a few thousand documents, made from those that the suite has written. No times are taken.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.codec_options import CodecOptions
from chikaya_local.bench import commands
from chikaya_local.bench.clones import clones
from pymongo import MongoClient
from pymongo.errors import BulkWriteError

ROOT = Path(__file__).parents[2]
SUITES = {
    "intake": "services/intake/tests/test_stores.py",
    "routing": "services/routing/tests/service/test_stores.py",
    "tracking": "services/tracking/tests/test_stores.py",
    "notification": "services/notification/tests/test_stores.py",
    "desk": "administrations/desk/tests/test_stores.py",
}
DOCUMENTS = 3_000
DUPLICATE_KEY = 11000
SPARE = 20
"""Keys or documents that a query may read beyond twice what it returns or asks for by name."""
SCANNED = {
    ("intake", "channels"): "a dozen channels, read whole",
    ("intake", "books"): "one for each process that has not relayed all that it took",
    ("intake", "uploads"): "what is being uploaded now",
    ("tracking", "administrations"): "the catalogue, read whole",
    ("desk", "administrations"): "the catalogue, read whole",
}
"""Collections that are small for ever, and may be read without an index."""
LOOKED_THROUGH = {
    ("intake", "attachments.files"): "GridFS asks once whether anything is there; the suite, whether anything is left",
    ("intake", "attachments.chunks"): "the same",
    ("tracking", "steps"): "the suite: that no word of an erased complaint is left",
    ("tracking", "notices"): "the suite: that each is there once",
}
"""What is read whole, but not by a service at work."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """What a command asks for, whatever it does with it."""

    collection: str
    filter: Document
    sort: Document
    limit: int

    @property
    def kind(self) -> str:
        """The same for queries that differ in their values alone."""
        return json.dumps([self.collection, _shape(self.filter), list(self.sort.items()), bool(self.limit)])


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shape(one) for one in value[:1]]
    return type(value).__name__


def _named(value: Any) -> int:
    """How many values a filter names in its lists."""
    if isinstance(value, dict):
        return sum(map(_named, value.values()))
    return len(value) if isinstance(value, list) else 0


def queries(command: Document) -> Iterator[Query]:
    """What a command searches for; nothing for one that only writes."""
    name, collection = next(iter(command.items()))
    match name:
        case "find":
            yield Query(collection, command["filter"], command.get("sort", {}), abs(command.get("limit", 0)))
        case "findAndModify":
            yield Query(collection, command["query"], command.get("sort", {}), 1)
        case "count" | "distinct":
            yield Query(collection, command.get("query", {}), {}, 0)
        case "aggregate":
            first = command["pipeline"][0]
            yield Query(collection, first.get("$match", {}), {}, 0)
        case "update":
            for one in command["updates"]:
                yield Query(collection, one["q"], {}, 0 if one.get("multi") else 1)
        case "delete":
            for one in command["deletes"]:
                if one["q"]:  # suites empty their collections; the code never does
                    yield Query(collection, one["q"], {}, one["limit"])


def stages(plan: object) -> list[str]:
    """The names of all stages of a plan."""
    if isinstance(plan, dict):
        own = [plan["stage"]] if "stage" in plan else []
        return own + [stage for value in plan.values() for stage in stages(value)]
    return [stage for value in plan for stage in stages(value)] if isinstance(plan, list) else []


def recorded(suite: str, uri: str, file: Path) -> list[Document]:
    """The commands of a service's suite, in order."""
    done = subprocess.run(
        [sys.executable, "-m", "chikaya_local.bench.commands", str(file), "pytest", "-x", "-p", "no:cacheprovider",
         suite],
        cwd=ROOT,
        env={**os.environ, "MONGO_URI": uri},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-1_000:]
    aware: CodecOptions[Document] = CodecOptions(tz_aware=True)
    entries = [bson.decode(entry.raw, codec_options=aware) for entry in commands.recorded(file)]
    return [entry["c"] for entry in entries if "c" in entry]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("service", SUITES)
def test_every_query_is_answered_by_an_index(service: str, database_of: Callable[[str], str], tmp_path: Path) -> None:
    uri = database_of("admin")
    said = recorded(SUITES[service], uri, tmp_path / "commands.bson")
    asked = {query.kind: query for command in said for query in queries(command)}
    assert asked, "the suite of the store asks nothing of a database"
    name = f"queries_{service}"
    with MongoClient[Document](uri, tz_aware=True) as client:
        client.drop_database(name)
        _fill(client, name, said)
        looked_at = [
            query
            for query in asked.values()
            if (service, query.collection) not in (SCANNED if query.filter else {**SCANNED, **LOOKED_THROUGH})
        ]
        problems = [problem for query in looked_at if (problem := _problem(client, name, query))]
        client.drop_database(name)
    assert not problems, "\n".join(problems)


def _fill(client: MongoClient[Document], database: str, said: list[Document]) -> None:
    """The indexes that were made, on the documents that were written and many more like them."""
    written: dict[str, list[Document]] = {}
    indexed: dict[str, set[str]] = {}
    for command in said:
        if collection := command.get("createIndexes"):
            client[database].command(command)
            indexed.setdefault(collection, {"_id"}).update(key for index in command["indexes"] for key in index["key"])
        elif collection := command.get("insert"):
            written.setdefault(collection, []).extend(command["documents"])
    for collection, documents in written.items():
        many = clones(documents, DOCUMENTS)
        more = [_apart(one, indexed.get(collection, {"_id"}), number) for number, one in enumerate(many)]
        try:
            client[database][collection].insert_many([*documents, *more], ordered=False)
        except BulkWriteError as error:
            # A suite writes one document in many of its tests, and tries what unique indexes refuse.
            if any(one["code"] != DUPLICATE_KEY for one in error.details["writeErrors"]):
                raise


def _apart(document: Document, keys: set[str], number: int) -> Document:
    """The document with keys of its own: the ids of a suite are names like `c1`, which cloning leaves as they are.
    What follows at the end of a composed key leaves it in its range."""
    changed = {
        name: f"{value}~{number}"
        for name, value in document.items()
        if name in keys and isinstance(value, str) and any(map(str.isdigit, value))
    }
    return document | changed


def _problem(client: MongoClient[Document], database: str, query: Query) -> str:
    """What is wrong with how a query is answered, or nothing."""
    plan, read, returned = _explained(client, database, query, query.filter)
    if "COLLSCAN" in plan:
        # One field leads to the documents, and the rest is asked of what is found. The local server does so too (its
        # cost does not grow with the collection), but explains it as a scan.
        by_one_field = [_explained(client, database, query, {name: one}) for name, one in query.filter.items()]
        plan, read, _ = min(by_one_field, key=lambda one: ("COLLSCAN" in one[0], one[1]), default=(plan, read, 0))
    allowed = 2 * max(returned, _named(query.filter)) + SPARE
    if "COLLSCAN" in plan or read > allowed:
        return f"{query.kind}: {' > '.join(plan)} reads {read} to give {returned} (allowed: {allowed})"
    return ""


def _explained(
    client: MongoClient[Document], database: str, query: Query, wanted: Document
) -> tuple[list[str], int, int]:
    """The stages of the plan, how many keys or documents it reads (the more), how many it returns."""
    find: Document = {"find": query.collection, "filter": wanted}
    find |= {"sort": query.sort} if query.sort else {}
    find |= {"limit": query.limit} if query.limit else {}
    explained = client[database].command("explain", find, verbosity="executionStats")
    stats = explained["executionStats"]
    read = max(stats["totalDocsExamined"], stats["totalKeysExamined"])
    return stages(explained["queryPlanner"]["winningPlan"]), read, stats["nReturned"]
