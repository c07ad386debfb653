"""Cases, the catalogue and counters in MongoDB. Every query is bounded by a range of an index.

One document a complaint. Messages in it are kept as their JSON, so that a history reads back exactly as it was said;
the fields beside them (`state`, `phone`, `next_due`…) are made from it at each write, and exist for the indexes.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import Any, cast

from chikaya_contracts import messages
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import CaseEvent
from chikaya_contracts.messages.notification import NoticeOutcome
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, DESCENDING, IndexModel, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError, ConnectionFailure, ExecutionTimeout, WTimeoutError

from ..domain.case import Case, Cause, Rules, alarms, fold
from ..domain.case_file import Applied, CaseFile, Told
from .cases import Cases, Listed, ReferenceTaken

TRANSIENT: tuple[type[Exception], ...] = (ConnectionFailure, ExecutionTimeout, WTimeoutError)
"""What the driver raises while the database is away."""

DUPLICATE_KEY = 11000
Document = dict[str, Any]


class Database:
    """The connection, and the indexes."""

    def __init__(self, uri: str, name: str) -> None:
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            uri, tz_aware=True, w="majority", serverSelectionTimeoutMS=3_000, connectTimeoutMS=3_000, appname="tracking"
        )
        self.db = self._client[name]

    async def ping(self) -> None:
        """Raises while the database does not answer, or does not let us in."""
        await self.db.command("ping")
        await self.db.cases.find_one({"_id": ""})

    async def create_indexes(self) -> None:
        """All that the queries below rely on; once more does no harm."""
        await self.db.cases.create_indexes(
            [
                IndexModel([("reference", ASCENDING)], name="reference", unique=True, sparse=True),
                IndexModel([("phone", ASCENDING), ("received_at", DESCENDING), ("_id", DESCENDING)], name="phone"),
                IndexModel([("next_due", ASCENDING), ("_id", ASCENDING)], name="next_due"),
            ]
        )
        await self.db.notices.create_indexes(
            [IndexModel([("complaint_id", ASCENDING), ("at", ASCENDING)], name="complaint")]
        )
        await self.db.tries.create_indexes([IndexModel([("expires", ASCENDING)], name="ttl", expireAfterSeconds=0)])

    async def close(self) -> None:
        """Ends the connections."""
        self._client.close()


class MongoCases(Cases):
    """Cases, one document each."""

    def __init__(self, database: Database) -> None:
        self._cases, self._notices = database.db.cases, database.db.notices

    async def load(self, complaint_ids: Iterable[str]) -> Mapping[str, CaseFile]:
        found = self._cases.find({"_id": {"$in": list(complaint_ids)}})
        return {document["_id"]: _restored(document) async for document in found}

    async def save(self, files: Collection[CaseFile], rules: Rules) -> set[str]:
        if not files:
            return set()
        mark = new_id()
        writes = [_write(file, mark, rules) for file in files]
        refused: set[str] = set()
        try:
            result = await self._cases.bulk_write(writes, ordered=False)
            if result.inserted_count + result.matched_count == len(files):
                return set()
        except BulkWriteError as error:
            if any(one["code"] != DUPLICATE_KEY for one in error.details["writeErrors"]):
                raise
            ids = [file.complaint_id for file in files]
            refused = {ids[one["index"]] for one in error.details["writeErrors"]}
        return await self._lost(files, mark, refused)

    async def _lost(self, files: Collection[CaseFile], mark: str, refused: set[str]) -> set[str]:
        """Which of the files are not what is stored now."""
        ids = [file.complaint_id for file in files]
        stored = {
            document["_id"]: document
            async for document in self._cases.find({"_id": {"$in": ids}}, {"mark": 1, "version": 1})
        }
        lost = set()
        for file in files:
            present = stored.get(file.complaint_id, {"mark": None, "version": 0})
            if present["mark"] != mark:
                if file.complaint_id in refused and present["version"] == file.version - 1:
                    raise ReferenceTaken(f"the reference of complaint {file.complaint_id} is another's already")
                lost.add(file.complaint_id)
        return lost

    async def by_reference(self, reference: str) -> CaseFile | None:
        document = await self._cases.find_one({"reference": reference})
        return _restored(document) if document else None

    async def by_phone(self, phone: str, before: tuple[datetime, str] | None, size: int) -> list[Listed]:
        query: Document = {"phone": phone}
        if before:
            at, complaint_id = before
            query["received_at"] = {"$lte": at}
            query["$or"] = [{"received_at": {"$lt": at}}, {"_id": {"$lt": complaint_id}}]
        shown = {"reference": 1, "nature": 1, "state": 1, "received_at": 1, "holder": 1}
        found = self._cases.find(query, shown).sort([("received_at", DESCENDING), ("_id", DESCENDING)]).limit(size)
        return [
            Listed(
                complaint_id=row["_id"],
                reference=row["reference"],
                nature=row["nature"],
                state=row["state"],
                received_at=row["received_at"],
                administration=row.get("holder"),
            )
            async for row in found
        ]

    async def due(self, now: datetime, page: int) -> AsyncIterator[list[Case]]:
        # One cursor over the whole range: asking again for each page would scan the range again each time.
        found = self._cases.find({"next_due": {"$lte": now}}, {"history": 1}, batch_size=page)
        cases: list[Case] = []
        async for document in found.sort([("next_due", ASCENDING), ("_id", ASCENDING)]):
            if case := fold(_history(document)):
                cases.append(case)
            if len(cases) == page:
                yield cases
                cases = []
        if cases:
            yield cases

    async def note(self, outcomes: Sequence[Event[NoticeOutcome]]) -> None:
        kept = {
            outcome.id: {
                "complaint_id": outcome.data.complaint_id,
                "at": outcome.data.at,
                "type": outcome.type,
                "data": _json(outcome.data),
            }
            for outcome in outcomes
        }
        if kept:
            updates = [UpdateOne({"_id": id}, {"$setOnInsert": row}, upsert=True) for id, row in kept.items()]
            await self._notices.bulk_write(updates, ordered=False)

    async def notices(self, complaint_id: str) -> list[NoticeOutcome]:
        found = self._notices.find({"complaint_id": complaint_id}).sort([("at", ASCENDING)])
        return [cast(NoticeOutcome, _message(row["type"], row["data"])) async for row in found]


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
        if not latest:
            return
        kept = self._rows.find({"_id": {"$in": list(latest)}}, {"version": 1})
        later = {row["_id"] async for row in kept if row["version"] > latest[row["_id"]].version}
        writes = [
            ReplaceOne({"_id": slug}, _json(row), upsert=True) for slug, row in latest.items() if slug not in later
        ]
        if writes:
            await self._rows.bulk_write(writes, ordered=False)


class MongoTries:
    """Counters that vanish."""

    def __init__(self, database: Database) -> None:
        self._tries = database.db.tries

    async def counts(self, keys: Sequence[str]) -> dict[str, int]:
        found = {row["_id"]: row["n"] async for row in self._tries.find({"_id": {"$in": list(keys)}})}
        return {key: found.get(key, 0) for key in keys}

    async def add(self, keys: Mapping[str, datetime]) -> None:
        await self._tries.bulk_write(
            [
                UpdateOne({"_id": key}, {"$inc": {"n": 1}, "$setOnInsert": {"expires": expires}}, upsert=True)
                for key, expires in keys.items()
            ],
            ordered=False,
        )


# -- documents --------------------------------------------------------------------------------------------------------


def _json(data: Message) -> Document:
    return data.model_dump(mode="json", exclude_none=True)


def _message(type: str, data: Document) -> Message:
    return messages.ALL[type].model_validate(data)


def _write(file: CaseFile, mark: str, rules: Rules) -> InsertOne[Document] | ReplaceOne[Document]:
    document: Document = {
        "_id": file.complaint_id,
        "version": file.version,
        "mark": mark,
        "history": [{"type": event.TYPE, **_json(event)} for event in file.history],
        "texts": dict(file.texts),
        "applied": [asdict(applied) for applied in file.applied],
        "parked": [_parked(cause) for cause in file.parked],
        "inboxes": dict(file.inboxes),
    }
    if file.filing and file.case:
        waiting = alarms(file.case, rules)
        looked_up = {
            "reference": file.case.reference,
            "nature": file.filing.nature,
            "state": file.case.state,
            "holder": file.case.holder,
            "received_at": file.case.received_at,
            "phone": file.filing.contact.phone,
            "email": file.filing.contact.email,
            "next_due": waiting[0].moment if waiting else None,
        }
        document |= {name: value for name, value in looked_up.items() if value is not None}
        document["filing"] = _json(file.filing)
    if file.version == 1:
        return InsertOne(document)
    return ReplaceOne({"_id": file.complaint_id, "version": file.version - 1}, document)


def _restored(document: Document) -> CaseFile:
    filing = document.get("filing")
    return CaseFile.restored(
        complaint_id=document["_id"],
        version=document["version"],
        filing=ComplaintSubmitted.model_validate(filing) if filing else None,
        history=_history(document),
        texts=MappingProxyType(document["texts"]),
        applied=tuple(_applied(row) for row in document["applied"]),
        parked=tuple(_unparked(row) for row in document["parked"]),
        inboxes=MappingProxyType(document["inboxes"]),
    )


def _history(document: Document) -> tuple[CaseEvent, ...]:
    return tuple(cast(CaseEvent, _message(row["type"], row)) for row in document["history"])


def _applied(row: Document) -> Applied:
    return Applied(
        topic=row["topic"],
        id=row["id"],
        sequences=tuple(row["sequences"]),
        told=tuple(Told(**told) for told in row["told"]),
        to_routing=row["to_routing"],
        decision=row["decision"],
        released=tuple((topic, id) for topic, id in row["released"]),
    )


def _parked(cause: Cause) -> Document:
    return {
        "id": cause.id,
        "source": cause.source,
        "time": cause.time.isoformat(),
        "topic": cause.topic,
        "extensions": cause.extensions,
        "traceparent": cause.traceparent,
        "type": cause.type,
        "data": _json(cause.data),
    }


def _unparked(row: Document) -> Cause:
    return Event(
        id=row["id"],
        source=row["source"],
        time=datetime.fromisoformat(row["time"]),
        data=_message(row["type"], row["data"]),
        topic=row["topic"],
        extensions=row["extensions"],
        traceparent=row["traceparent"],
    )
