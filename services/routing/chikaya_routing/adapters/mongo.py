"""Routing's store on MongoDB: complaints with their decisions, the triage queue, the catalogue.

A complaint is one document: submission, judgement, supplements and decisions. `status`, `received_at` and `_id` index
the queue, `release_at` the decisions that rest. Every change is conditional on the number of decisions it was made on.
What comes before the submission (a supplement, a withdrawal) waits in a document without one. The catalogue is one
document too, so that an import takes effect whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from chikaya_contracts.messages import ALL
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.intake import ComplaintSubmitted
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, InsertOne, UpdateOne
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    WaitQueueTimeoutError,
)

from chikaya_routing.domain.catalogue import Edition
from chikaya_routing.domain.routing import OPEN, Complaint, Recorded, Status, Supplement, status
from chikaya_routing.stores import After, Item, Known

TRANSIENT: tuple[type[Exception], ...] = (ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError)
"""What means that Mongo is away."""

DUPLICATE_KEY = 11000
AWAY_AFTER_MS = 3_000
ANSWER_WITHIN_MS = 20_000
RELEASED_AT_ONCE = 200
CATALOGUE = {"_id": "catalogue"}


class MongoStore:
    """`stores.Complaints` and `catalogue.Editions` in routing's own database."""

    def __init__(self, uri: str, database: str) -> None:
        self._client: AsyncIOMotorClient[Any] = AsyncIOMotorClient(
            uri,
            tz_aware=True,
            tzinfo=UTC,
            w="majority",
            journal=True,
            serverSelectionTimeoutMS=AWAY_AFTER_MS,
            connectTimeoutMS=AWAY_AFTER_MS,
            waitQueueTimeoutMS=AWAY_AFTER_MS,
            socketTimeoutMS=ANSWER_WITHIN_MS,
            appname="routing",
        )
        self._database = self._client[database]
        self._complaints = self._database["complaints"]
        self._catalogue = self._database["catalogue"]

    async def ping(self) -> None:
        """Raises ConnectionFailure while the server does not answer."""
        await self._database.command("ping")

    async def create_indexes(self) -> None:
        """Safe to repeat."""
        await self._complaints.create_index(
            [("status", ASCENDING), ("received_at", ASCENDING), ("_id", ASCENDING)], name="queue"
        )
        await self._complaints.create_index("release_at", name="release_at", sparse=True)
        await self._complaints.create_index("reference", name="reference", sparse=True)

    async def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    async def known(self, ids: Iterable[str]) -> Known:
        found = Known({}, {})
        async for document in self._complaints.find({"_id": {"$in": list(ids)}}, {"judgement": False}):
            if "submission" in document:
                found.complaints[document["_id"]] = _complaint(document)
            else:
                found.early[document["_id"]] = _supplements(document)
        return found

    async def add(self, decided: Sequence[tuple[Complaint, Mapping[str, Any]]]) -> set[str]:
        if not decided:
            return set()
        documents = {complaint.id: _document(complaint) | {"judgement": why} for complaint, why in decided}
        present = await self._insert([{"_id": id_, **content} for id_, content in documents.items()])
        taken = set()
        for id_ in present:
            # It is there: as what came before the submission, which is to be kept, or decided by another instance.
            mine = await self._complaints.update_one(
                {"_id": id_, "submission": {"$exists": False}}, {"$set": documents[id_]}
            )
            if not mine.matched_count:
                taken.add(id_)
        if early := [id_ for id_ in present if id_ not in taken]:
            # What came before may be a withdrawal: it writes its mark first, and this looks for it last.
            await self._complaints.update_many(
                {"_id": {"$in": early}, "withdrawn": True, "status": {"$in": OPEN}}, {"$set": {"status": "withdrawn"}}
            )
        return taken

    async def _insert(self, documents: Sequence[dict[str, Any]]) -> list[str]:
        """Inserts what is not there; gives the ids of what is."""
        try:
            await self._complaints.bulk_write([InsertOne(document) for document in documents], ordered=False)
        except BulkWriteError as error:
            failures = (error.details or {}).get("writeErrors", [])
            if not failures or any(one["code"] != DUPLICATE_KEY for one in failures):
                raise
            return [documents[one["index"]]["_id"] for one in failures]
        return []

    async def replace(self, complaint: Complaint, known_decisions: int) -> bool:
        result = await self._complaints.update_one(
            {"_id": complaint.id, "count": known_decisions},
            {"$set": _decided(complaint), "$unset": {"claim": "", "answered_at": ""}},
        )
        return bool(result.matched_count)

    async def supplement(self, added: Sequence[tuple[str, Supplement]]) -> None:
        await self._make([complaint_id for complaint_id, _ in added])
        writes = [
            UpdateOne(
                {"_id": complaint_id, "supplements.id": {"$ne": one.id}},
                {"$push": {"supplements": {"id": one.id, "at": one.at, "text": one.text}}},
            )
            for complaint_id, one in added
        ]
        await self._complaints.bulk_write(writes, ordered=True)

    async def _make(self, ids: Sequence[str]) -> None:
        """Sees to it that there is a document for each id."""
        present = {row["_id"] async for row in self._complaints.find({"_id": {"$in": list(ids)}}, {"_id": True})}
        if missing := sorted(set(ids) - present):
            await self._insert([{"_id": id_} for id_ in missing])

    async def answered(self, answers: Sequence[tuple[str, str, datetime]]) -> None:
        writes = [
            UpdateOne(
                {"_id": complaint_id, "status": "waiting", "answers": {"$ne": event}},
                {"$set": {"status": "triage", "answered_at": at}, "$push": {"answers": event}},
            )
            for complaint_id, event, at in answers
        ]
        await self._complaints.bulk_write(writes, ordered=True)

    async def withdraw(self, ids: Sequence[str]) -> None:
        await self._make(ids)
        found = {"_id": {"$in": list(ids)}}
        await self._complaints.update_many(found, {"$set": {"withdrawn": True}})
        await self._complaints.update_many(
            {**found, "status": {"$in": OPEN}}, {"$set": {"status": "withdrawn"}, "$unset": {"claim": ""}}
        )

    async def due(self, now: datetime) -> list[Complaint]:
        found = self._complaints.find({"release_at": {"$lte": now}}).sort("release_at", ASCENDING)
        return [_complaint(document) async for document in found.limit(RELEASED_AT_ONCE)]

    async def released(self, complaints: Sequence[Complaint]) -> None:
        await self._complaints.bulk_write(
            [
                UpdateOne({"_id": one.id, "count": len(one.decisions)}, {"$unset": {"release_at": ""}})
                for one in complaints
            ],
            ordered=False,
        )

    async def page(self, status: Status, after: After | None, limit: int) -> list[Item]:
        wanted: dict[str, Any] = {"status": status}
        if after:
            at, id_ = after
            # Not a top-level $or, for which the local server reads the whole collection.
            wanted |= {"received_at": {"$gte": at}, "$nor": [{"received_at": at, "_id": {"$lte": id_}}]}
        found = self._complaints.find(wanted).sort([("received_at", ASCENDING), ("_id", ASCENDING)]).limit(limit)
        return [_item(document) async for document in found]

    async def count(self, status: Status) -> int:
        return int(await self._complaints.count_documents({"status": status}))

    async def resting(self, now: datetime) -> list[Item]:
        found = self._complaints.find({"release_at": {"$gt": now}}).sort("release_at", ASCENDING)
        return [_item(document) async for document in found.limit(RELEASED_AT_ONCE)]

    async def item(self, id: str) -> Item | None:
        document = await self._complaints.find_one({"_id": id, "submission": {"$exists": True}})
        if document is None and id.isdecimal():
            document = await self._complaints.find_one({"reference": id})
        return _item(document) if document else None

    async def claim(self, id: str, officer: str, now: datetime, until: datetime) -> bool:
        # By update_one: the local server's find_one_and_update takes time with the size of the collection.
        claim = {"$set": {"claim": {"by": officer, "until": until}}}
        wanted: dict[str, Any] = {"_id": id, "status": {"$in": OPEN}}
        for free in ({"claim.until": {"$not": {"$gt": now}}}, {"claim.by": officer}):
            if (await self._complaints.update_one({**wanted, **free}, claim)).matched_count:
                return True
        return False

    async def leave(self, id: str, officer: str) -> None:
        await self._complaints.update_one({"_id": id, "claim.by": officer}, {"$unset": {"claim": ""}})

    async def settle(self, complaint: Complaint, known_decisions: int, officer: str, release_at: datetime) -> bool:
        result = await self._complaints.update_one(
            {
                "_id": complaint.id,
                "count": known_decisions,
                "status": {"$in": OPEN},
                "claim.by": officer,
                "release_at": {"$exists": False},
            },
            {"$set": {**_decided(complaint), "release_at": release_at}, "$unset": {"claim": ""}},
        )
        return bool(result.matched_count)

    async def take_back(self, complaint: Complaint, known_decisions: int, resting_at: datetime) -> bool:
        result = await self._complaints.update_one(
            {"_id": complaint.id, "count": known_decisions, "release_at": {"$gt": resting_at}},
            {"$set": _decided(complaint), "$unset": {"release_at": ""}},
        )
        return bool(result.matched_count)

    # -- the catalogue

    async def edition(self) -> Edition:
        document = await self._catalogue.find_one(CATALOGUE)
        if document is None:
            return Edition()
        return Edition(document["version"], _rows(document["rows"]), _rows(document["closed"]))

    async def edition_version(self) -> int:
        document = await self._catalogue.find_one(CATALOGUE, {"version": True})
        return int(document["version"]) if document else 0

    async def keep_edition(self, edition: Edition) -> bool:
        content = {
            "version": edition.version,
            "rows": [row.model_dump(mode="json") for row in edition.rows.values()],
            "closed": [row.model_dump(mode="json") for row in edition.closed.values()],
        }
        if edition.version > 1:
            before = {**CATALOGUE, "version": edition.version - 1}
            return bool((await self._catalogue.update_one(before, {"$set": content})).matched_count)
        try:
            await self._catalogue.insert_one({**CATALOGUE, **content})
        except DuplicateKeyError:
            return False
        return True


def _rows(documents: Iterable[Mapping[str, Any]]) -> dict[str, AdministrationListed]:
    return {row["slug"]: AdministrationListed.model_validate(row) for row in documents}


def _document(complaint: Complaint) -> dict[str, Any]:
    submission = complaint.submission
    return {
        "submission": submission.model_dump(mode="json"),
        "received_at": submission.received_at,
        "reference": submission.reference,
        **_decided(complaint),
    }


def _decided(complaint: Complaint) -> dict[str, Any]:
    return {
        "decisions": [
            {
                "type": one.message.TYPE,
                "message": one.message.model_dump(mode="json"),
                "cause": one.cause,
                "traceparent": one.traceparent,
                "release_at": one.release_at,
                "officer": one.officer,
                "note": one.note,
            }
            for one in complaint.decisions
        ],
        "count": len(complaint.decisions),
        "proposed": complaint.proposed,
        "status": status(complaint),
    }


def _complaint(document: Mapping[str, Any]) -> Complaint:
    return Complaint(
        submission=ComplaintSubmitted.model_validate(document["submission"]),
        decisions=tuple(
            Recorded(
                message=ALL[one["type"]].model_validate(one["message"]),  # type: ignore[arg-type]
                cause=one["cause"],
                traceparent=one["traceparent"],
                release_at=one["release_at"],
                officer=one["officer"],
                note=one["note"],
            )
            for one in document["decisions"]
        ),
        supplements=_supplements(document),
        proposed=document["proposed"],
        withdrawn=document.get("withdrawn", False),
    )


def _supplements(document: Mapping[str, Any]) -> tuple[Supplement, ...]:
    return tuple(Supplement(one["id"], one["at"], one["text"]) for one in document.get("supplements", ()))


def _item(document: Mapping[str, Any]) -> Item:
    claim = document.get("claim") or {}
    return Item(
        complaint=_complaint(document),
        status=document["status"],
        judgement=document["judgement"],
        held_by=claim.get("by"),
        held_until=claim.get("until"),
        answered_at=document.get("answered_at"),
        release_at=document.get("release_at"),
    )
