"""Dossiers and the catalogue in MongoDB.

One document a dossier. The dossier is kept as its JSON text: no query looks into it, and the database reads and writes
a text many times faster than its fields. `queue` is where it stands in its list, of an administration's dossiers of one
group by deadline; the list of all is its groups together. Every query is a bounded range of one index.
"""

import asyncio
import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.routing import DossierForwarded
from chikaya_servicekit import paging
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, IndexModel, InsertOne, ReplaceOne
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from ..domain.dossier import GROUPS, DossierFile, Entry, FollowUp, Forwarding, Group, Made
from .dossiers import Dossiers, Key, Listed, first_is_soonest, listed, position

TRANSIENT: tuple[type[Exception], ...] = (ConnectionFailure, ExecutionTimeout, WTimeoutError, WaitQueueTimeoutError)
"""What the driver raises while the database is away."""

DUPLICATE_KEY = 11000
AT_ONCE = 100
"""Ids in one `$in`: more take more than their share of time."""
AWAY_AFTER_MS = 3_000
ANSWER_WITHIN_MS = 20_000
Document = dict[str, Any]


class Database:
    """The connection, and the indexes."""

    def __init__(self, uri: str, name: str) -> None:
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            uri,
            tz_aware=True,
            w="majority",
            serverSelectionTimeoutMS=AWAY_AFTER_MS,
            connectTimeoutMS=AWAY_AFTER_MS,
            waitQueueTimeoutMS=AWAY_AFTER_MS,
            socketTimeoutMS=ANSWER_WITHIN_MS,
            appname="desk",
        )
        self.db = self._client[name]

    async def ping(self) -> None:
        """Raises while the database does not answer, or does not let us in."""
        await self.db.command("ping")
        await self.db.dossiers.find_one({"_id": ""})

    async def create_indexes(self) -> None:
        """All that the queries below rely on; once more does no harm."""
        await self.db.dossiers.create_indexes(
            [
                IndexModel([("queue", ASCENDING)], name="queue", sparse=True),
                IndexModel([("of_reference", ASCENDING)], name="of_reference", sparse=True),
            ]
        )

    async def close(self) -> None:
        """Ends the connections."""
        self._client.close()


class MongoDossiers(Dossiers):
    """Dossiers, one document each."""

    def __init__(self, database: Database) -> None:
        self._dossiers = database.db.dossiers

    async def load(self, keys: Iterable[Key]) -> Mapping[Key, DossierFile]:
        files = [_restored(document) for document in await self._by_id([_id(key) for key in keys], None)]
        return {(file.administration, file.complaint_id): file for file in files}

    async def save(self, files: Collection[DossierFile]) -> set[Key]:
        if not files:
            return set()
        mark = new_id()
        try:
            result = await self._dossiers.bulk_write([_write(file, mark) for file in files], ordered=False)
            if result.inserted_count + result.matched_count == len(files):
                return set()
        except BulkWriteError as error:
            if any(one["code"] != DUPLICATE_KEY for one in error.details["writeErrors"]):
                raise
        keys = {_id(key): key for file in files for key in [(file.administration, file.complaint_id)]}
        ours = {document["_id"] for document in await self._by_id(list(keys), {"mark": 1}) if document["mark"] == mark}
        return {key for id, key in keys.items() if id not in ours}

    async def _by_id(self, ids: list[str], fields: Document | None) -> list[Document]:
        chunks = [ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE)]
        found = await asyncio.gather(
            *(self._dossiers.find({"_id": {"$in": chunk}}, fields).to_list(None) for chunk in chunks)
        )
        return [document for some in found for document in some]

    async def page(self, administration: str, group: Group | None, after: str | None, size: int) -> list[Listed]:
        descending = not first_is_soonest(group)
        pages = await asyncio.gather(
            *(self._page(f"{administration}|{one}", after, size, descending) for one in ([group] if group else GROUPS))
        )
        wanted = [id_ for _, id_ in heapq.merge(*pages, reverse=descending)][:size]
        found = {document["_id"]: listed(_restored(document)) for document in await self._by_id(wanted, None)}
        return [row for id_ in wanted if (row := found.get(id_))]

    async def _page(self, list_: str, after: str | None, size: int, descending: bool) -> list[tuple[str, str]]:
        """(position, id) of a page of one list."""

        async def read(low: str, high: str) -> list[Document]:
            return await self._dossiers.find({"queue": {"$gt": low, "$lt": high}}, {"queue": 1}).to_list(None)

        pages = paging.Pages("queue", list_, read)
        return [(pages.order(row), row["_id"]) for row in await pages.page(after, size, descending=descending)]

    async def by_reference(self, administration: str, reference: str) -> DossierFile | None:
        document = await self._dossiers.find_one({"of_reference": f"{administration}|{reference}"})
        return _restored(document) if document else None


class MongoAdministrations:
    """The catalogue, one document a row."""

    def __init__(self, database: Database) -> None:
        self._rows = database.db.administrations

    async def all(self) -> list[AdministrationListed]:
        return [AdministrationListed.model_validate(row) async for row in self._rows.find({})]

    async def keep(self, rows: Sequence[AdministrationListed]) -> None:
        latest: dict[str, AdministrationListed] = {}
        for row in rows:
            if row.slug not in latest or latest[row.slug].version <= row.version:
                latest[row.slug] = row
        slugs = list(latest)
        for start in range(0, len(slugs), AT_ONCE):
            chunk = slugs[start : start + AT_ONCE]
            kept = {row["_id"]: row["version"] async for row in self._rows.find({"_id": {"$in": chunk}})}
            writes: list[InsertOne[Document] | ReplaceOne[Document]] = [
                ReplaceOne({"_id": slug}, latest[slug].model_dump(mode="json", exclude_none=True), upsert=True)
                for slug in chunk
                if kept.get(slug, 0) <= latest[slug].version
            ]
            if writes:
                await self._rows.bulk_write(writes, ordered=False)


# -- documents --------------------------------------------------------------------------------------------------------


def _id(key: Key) -> str:
    return "/".join(key)


def _write(file: DossierFile, mark: str) -> InsertOne[Document] | ReplaceOne[Document]:
    id = _id((file.administration, file.complaint_id))
    document: Document = {
        "_id": id,
        "version": file.version,
        "mark": mark,
        "administration": file.administration,
        "complaint_id": file.complaint_id,
        "entries": [_kept(entry) for entry in file.entries],
    }
    standing, dossier = file.standing, file.dossier
    if standing and dossier:
        list_, place = f"{file.administration}|{standing.group}", position(standing, file.complaint_id)
        document |= {
            "dossier": dossier.model_dump_json(exclude_none=True),
            "of_reference": f"{file.administration}|{dossier.reference}",
            "queue": paging.key(list_, place, file.complaint_id),
        }
    if file.version == 1:
        return InsertOne(document)
    return ReplaceOne({"_id": id, "version": file.version - 1}, document)


_KINDS: dict[str, type[Forwarding] | type[FollowUp] | type[Made]] = {
    "forwarding": Forwarding,
    "follow-up": FollowUp,
    "made": Made,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def _kept(entry: Entry) -> Document:
    fields = {name: value for name, value in asdict(entry).items() if value is not None}
    return {"what": _NAMES[type(entry)], **fields}


def _restored(document: Document) -> DossierFile:
    dossier = document.get("dossier")
    return DossierFile(
        complaint_id=document["complaint_id"],
        administration=document["administration"],
        version=document["version"],
        dossier=DossierForwarded.model_validate_json(dossier) if dossier else None,
        entries=tuple(
            _KINDS[row["what"]](**{name: value for name, value in row.items() if name != "what"})
            for row in document["entries"]
        ),
    )
