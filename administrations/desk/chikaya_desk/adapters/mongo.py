"""Dossiers and the catalogue in MongoDB.

One document a dossier. Messages in it are kept as their JSON; the fields beside them exist for the lists. Each list is
paged by one text that is all of its key, with an index of its own: `queue` = administration|group|deadline|id, `all` =
administration|deadline|id. So every query is one bounded range of one index.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.routing import DossierForwarded
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, DESCENDING, IndexModel, InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError, ConnectionFailure, ExecutionTimeout, WTimeoutError

from ..domain.dossier import DossierFile, Entry, FollowUp, Forwarding, Group, Made
from .dossiers import Dossiers, Key, Listed, excerpt, first_is_soonest, position

TRANSIENT: tuple[type[Exception], ...] = (ConnectionFailure, ExecutionTimeout, WTimeoutError)
"""What the driver raises while the database is away."""

DUPLICATE_KEY = 11000
AT_ONCE = 100
"""Ids in one `$in`: more take more than their share of time."""
AFTER_ALL = "~"
Document = dict[str, Any]


class Database:
    """The connection, and the indexes."""

    def __init__(self, uri: str, name: str) -> None:
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            uri, tz_aware=True, w="majority", serverSelectionTimeoutMS=3_000, connectTimeoutMS=3_000, appname="desk"
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
                IndexModel([("all", ASCENDING)], name="all", sparse=True),
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
        field, begin = ("queue", f"{administration}|{group}|") if group else ("all", f"{administration}|")
        soonest = first_is_soonest(group)
        low, high = begin, begin + AFTER_ALL
        if after:
            low, high = (begin + after, high) if soonest else (low, begin + after)
        found = self._dossiers.find({field: {"$gt": low, "$lt": high}}, {"complaint_id": 1, "listed": 1, "all": 1})
        rows = await found.sort([(field, ASCENDING if soonest else DESCENDING)]).limit(size).to_list(size)
        return [
            Listed(complaint_id=row["complaint_id"], position=row["all"].split("|", 1)[1], **row["listed"])
            for row in rows
        ]

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
                ReplaceOne({"_id": slug}, _json(latest[slug]), upsert=True)
                for slug in chunk
                if kept.get(slug, 0) <= latest[slug].version
            ]
            if writes:
                await self._rows.bulk_write(writes, ordered=False)


# -- documents --------------------------------------------------------------------------------------------------------


def _id(key: Key) -> str:
    return "/".join(key)


def _json(data: AdministrationListed | DossierForwarded) -> Document:
    return data.model_dump(mode="json", exclude_none=True)


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
        place = position(standing, file.complaint_id)
        document |= {
            "dossier": _json(dossier),
            "of_reference": f"{file.administration}|{dossier.reference}",
            "queue": f"{file.administration}|{standing.group}|{place}",
            "all": f"{file.administration}|{place}",
            "listed": {
                "reference": dossier.reference,
                "state": standing.state,
                "answer_due": standing.answer_due,
                "received_at": dossier.received_at,
                "nature": dossier.nature,
                "excerpt": excerpt(dossier.text),
                "commune": dossier.place.commune if dossier.place else None,
                "place": dossier.place.text if dossier.place else None,
            },
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
        dossier=DossierForwarded.model_validate(dossier) if dossier else None,
        entries=tuple(
            _KINDS[row["what"]](**{name: value for name, value in row.items() if name != "what"})
            for row in document["entries"]
        ),
    )
