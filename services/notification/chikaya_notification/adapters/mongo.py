"""Notification's database on Mongo.

`cases` {_id: complaint id, contact, told}; `notices` {_id: notice id, …}: `claim` names who holds it until `due`,
`outcome_published` is set once it has ended; `administrations` {_id: slug, fr, ar}.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from chikaya_contracts.ids import new_id
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, UpdateOne
from pymongo.errors import BulkWriteError, ConnectionFailure

from ..domain.matrix import Means
from ..domain.notices import Contact, Facts, Notice, Told
from ..domain.wording import Name
from ..stores import Known

TRANSIENT: tuple[type[Exception], ...] = (ConnectionFailure,)
"""Mongo is away."""
TIMEOUT_MS = 5_000
DUPLICATE_KEY = 11000

Document = dict[str, Any]


class MongoNotification:
    """Both stores, in one database."""

    def __init__(self, uri: str, database: str) -> None:
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            uri, tz_aware=True, serverSelectionTimeoutMS=TIMEOUT_MS, connectTimeoutMS=TIMEOUT_MS
        )
        self._database = self._client[database]
        self.notices = MongoNotices(self._database)
        self.administrations = MongoAdministrations(self._database)

    async def ping(self) -> None:
        """Raises PyMongoError while the database does not answer."""
        await self._database.command("ping")

    async def create_indexes(self) -> None:
        """Makes the indexes that are not there."""
        notices = self._database.notices
        await notices.create_index([("by", ASCENDING), ("state", ASCENDING), ("due", ASCENDING)])
        await notices.create_index([("complaint_id", ASCENDING)])
        await notices.create_index([("outcome_published", ASCENDING), ("ended_at", ASCENDING)])

    async def close(self) -> None:
        """Leaves."""
        self._client.close()


class MongoNotices:
    """`stores.Notices`."""

    def __init__(self, database: Any) -> None:
        self._cases, self._notices = database.cases, database.notices

    async def known(self, complaint_ids: Collection[str]) -> dict[str, Known]:
        if not complaint_ids:
            return {}
        found = self._cases.find({"_id": {"$in": list(complaint_ids)}})
        return {case["_id"]: _known(case) async for case in found}

    async def keep_contacts(self, contacts: Mapping[str, Contact]) -> None:
        await _upsert(self._cases, {id: {"contact": asdict(contact)} for id, contact in contacts.items()})

    async def remember(self, told: Mapping[str, Told]) -> None:
        await _upsert(self._cases, {id: {"told": asdict(one)} for id, one in told.items()})

    async def add(self, notices: Sequence[Notice]) -> None:
        if not notices:
            return
        try:
            await self._notices.insert_many([_document(notice) for notice in notices], ordered=False)
        except BulkWriteError as error:
            details = error.details or {}
            if details.get("writeConcernErrors") or any(
                problem["code"] != DUPLICATE_KEY for problem in details["writeErrors"]
            ):
                raise

    async def waiting(self, complaint_ids: Collection[str]) -> list[Notice]:
        if not complaint_ids:
            return []
        found = self._notices.find({"complaint_id": {"$in": list(complaint_ids)}, "state": "waiting"})
        return [_notice(document) async for document in found]

    async def address(self, notices: Sequence[Notice]) -> None:
        changes = [
            UpdateOne(
                {"_id": notice.id, "state": "waiting"},
                {"$set": {"language": notice.language, **_progress(notice)}},
            )
            for notice in notices
        ]
        if changes:
            await self._notices.bulk_write(changes, ordered=False)

    async def due(self, by: Means, now: datetime, at_most: int) -> list[str]:
        wanted = {"by": by, "state": "pending", "due": {"$lte": now}}
        found = self._notices.find(wanted, {"_id": 1}).sort("due", ASCENDING).limit(at_most)
        return [document["_id"] async for document in found]

    async def claim(self, ids: Sequence[str], now: datetime, lease: timedelta) -> list[Notice]:
        if not ids:
            return []
        # Each document is claimed atomically: of two callers that saw it due, one finds it due no longer.
        claim = new_id()
        wanted = {"_id": {"$in": list(ids)}, "state": "pending", "due": {"$lte": now}}
        await self._notices.update_many(wanted, {"$set": {"due": now + lease, "claim": claim}})
        mine = self._notices.find({"_id": {"$in": list(ids)}, "claim": claim})
        return sorted([_notice(document) async for document in mine], key=lambda notice: ids.index(notice.id))

    async def end_try(self, notice: Notice) -> bool:
        done = await self._notices.update_one({"_id": notice.id, "state": "pending"}, {"$set": _progress(notice)})
        return bool(done.matched_count)

    async def release(self, notices: Sequence[Notice], due: datetime) -> None:
        changes = [
            UpdateOne({"_id": notice.id, "state": "pending", "due": notice.due}, {"$set": {"due": due}})
            for notice in notices
        ]
        if changes:
            await self._notices.bulk_write(changes, ordered=False)

    async def unpublished(self, ended_before: datetime, at_most: int) -> list[Notice]:
        found = self._notices.find({"outcome_published": False, "ended_at": {"$lte": ended_before}}).limit(at_most)
        return [_notice(document) async for document in found]

    async def published(self, ids: Sequence[str]) -> None:
        if ids:
            await self._notices.update_many({"_id": {"$in": list(ids)}}, {"$set": {"outcome_published": True}})

    async def of(self, complaint_id: str) -> list[Notice]:
        found = [_notice(document) async for document in self._notices.find({"complaint_id": complaint_id})]
        return sorted(found, key=lambda notice: (notice.facts.at, notice.notice, notice.by))


class MongoAdministrations:
    """`stores.Administrations`."""

    def __init__(self, database: Any) -> None:
        self._administrations = database.administrations

    async def keep(self, names: Mapping[str, Name]) -> None:
        await _upsert(self._administrations, {slug: asdict(name) for slug, name in names.items()})

    async def named(self, slugs: Collection[str]) -> dict[str, Name]:
        if not slugs:
            return {}
        found = self._administrations.find({"_id": {"$in": list(slugs)}})
        return {document["_id"]: Name(document["fr"], document["ar"]) async for document in found}


async def _upsert(collection: Any, values: Mapping[str, Document]) -> None:
    if values:
        await collection.bulk_write(
            [UpdateOne({"_id": id}, {"$set": value}, upsert=True) for id, value in values.items()], ordered=False
        )


def _known(case: Document) -> Known:
    contact, told = case.get("contact"), case.get("told")
    return Known(Contact(**contact) if contact else None, Told(**told) if told else Told())


def _document(notice: Notice) -> Document:
    document = asdict(notice)
    return {"_id": document.pop("id"), **document, **_progress(notice)}


def _progress(notice: Notice) -> Document:
    """What changes in a notice's life."""
    return {
        "state": notice.state,
        "due": notice.due,
        "attempts": notice.attempts,
        "ended_at": notice.ended_at,
        "reason": notice.reason,
        "outcome_published": False if notice.ended_at else None,
    }


def _notice(document: Document) -> Notice:
    own = {name: document[name] for name in Notice.__slots__ if name not in ("id", "facts")}
    return Notice(id=document["_id"], facts=Facts(**document["facts"]), **own)
