"""Notification's database on Mongo.

`contacts` {_id: complaint id, language, email, phone}; `notices` {_id: notice id, …}; `administrations` {_id: slug,
fr, ar}.

What is still to be done with a notice is one string, `queue`: `<means>|<due>` for one to be sent, `waiting` for its
contact, `unpublished|<end>`; a notice that is through has none. So each look is one range of one small index, and an
end costs that index one entry. `claim` names who holds a notice until it is due.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

from chikaya_contracts.ids import new_id
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, UpdateOne
from pymongo.errors import BulkWriteError, ConnectionFailure

from ..domain.matrix import Means
from ..domain.notices import Contact, Facts, Notice
from ..domain.wording import Name

TRANSIENT: tuple[type[Exception], ...] = (ConnectionFailure,)
"""Mongo is away."""
TIMEOUT_MS, ANSWER_WITHIN_MS = 5_000, 20_000
DUPLICATE_KEY = 11000
# A longer `$in` costs the local database more for each id; and a busy one must be through with a command in time.
AT_ONCE = 100
WAITING, UNPUBLISHED = "waiting", {"$gte": "unpublished|", "$lt": "unpublished~"}

Document = dict[str, Any]
Part = TypeVar("Part")


class MongoNotification:
    """Both stores, in one database."""

    def __init__(self, uri: str, database: str) -> None:
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            uri,
            tz_aware=True,
            serverSelectionTimeoutMS=TIMEOUT_MS,
            connectTimeoutMS=TIMEOUT_MS,
            socketTimeoutMS=ANSWER_WITHIN_MS,
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
        await notices.create_index([("queue", ASCENDING)], sparse=True)
        await notices.create_index([("complaint_id", ASCENDING)])

    async def close(self) -> None:
        """Leaves."""
        self._client.close()


class MongoNotices:
    """`stores.Notices`."""

    def __init__(self, database: Any) -> None:
        self._contacts, self._notices = database.contacts, database.notices

    async def keep_contacts(self, contacts: Mapping[str, Contact]) -> None:
        await _insert_new(
            self._contacts,
            [
                {"_id": id, "language": contact.language, "email": contact.email, "phone": contact.phone}
                for id, contact in contacts.items()
            ],
        )

    async def contacts(self, complaint_ids: Collection[str]) -> dict[str, Contact]:
        found = await _found(self._contacts, "_id", complaint_ids)
        return {one["_id"]: Contact(one["language"], one["email"], one["phone"]) for one in found}

    async def add(self, notices: Sequence[Notice]) -> set[str]:
        return await _insert_new(self._notices, [_document(notice) for notice in notices])

    async def waiting(self, complaint_ids: Collection[str]) -> list[Notice]:
        if not complaint_ids or not await self._notices.find_one({"queue": WAITING}, {"_id": 1}):
            return []
        found = await _found(self._notices, "complaint_id", complaint_ids, {"state": "waiting"})
        return [_notice(document) for document in found]

    async def address(self, notices: Sequence[Notice]) -> None:
        await self._change_alike(
            {notice.id: {"language": notice.language, **_progress(notice, published=True)} for notice in notices},
            {"state": "waiting"},
        )

    async def due(self, by: Means, now: datetime, at_most: int) -> list[str]:
        found = self._notices.find({"queue": _due(by, now)}, {"_id": 1}).sort("queue", ASCENDING).limit(at_most)
        return [document["_id"] async for document in found]

    async def claim(self, by: Means, ids: Sequence[str], now: datetime, lease: timedelta) -> list[Notice]:
        # Each document is claimed atomically: of two callers that saw it due, one finds it due no longer.
        claim, due = new_id(), now + lease
        await self._change(ids, {"queue": _due(by, now)}, {"due": due, "claim": claim, "queue": _queued(by, due)})
        mine = await _found(self._notices, "_id", ids, {"claim": claim})
        place = {id: number for number, id in enumerate(ids)}
        return sorted(map(_notice, mine), key=lambda notice: place[notice.id])

    async def release(self, notices: Sequence[Notice], due: datetime) -> None:
        by_claim: dict[tuple[Means, datetime], list[str]] = defaultdict(list)
        for notice in notices:
            by_claim[notice.by, notice.due].append(notice.id)
        for (by, until), ids in by_claim.items():
            await self._change(ids, {"queue": _queued(by, until)}, {"due": due, "queue": _queued(by, due)})

    async def end_tries(self, notices: Sequence[Notice], published: bool) -> None:
        await self._change_alike({notice.id: _progress(notice, published) for notice in notices}, {"state": "pending"})

    async def unpublished(self, at_most: int) -> list[Notice]:
        found = self._notices.find({"queue": UNPUBLISHED}).sort("queue", ASCENDING).limit(at_most)
        return [_notice(document) async for document in found]

    async def published(self, ids: Sequence[str]) -> None:
        await self._change(ids, {"queue": UNPUBLISHED}, {"queue": None})

    async def of(self, complaint_id: str) -> list[Notice]:
        found = [_notice(document) async for document in self._notices.find({"complaint_id": complaint_id})]
        return sorted(found, key=lambda notice: (notice.facts.at, notice.notice, notice.by))

    async def _change_alike(self, changes: Mapping[str, Document], where: Document) -> None:
        """Changes notices by id. What changes in the same way is one command: of updates, the cheapest."""
        alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        for id, change in changes.items():
            alike[tuple(change.items())].append(id)
        for same, ids in alike.items():
            await self._change(ids, where, dict(same))

    async def _change(self, ids: Sequence[str], where: Document, change: Document) -> None:
        for some in _parts(ids):
            await self._notices.update_many({"_id": {"$in": some}, **where}, _changes(change))


class MongoAdministrations:
    """`stores.Administrations`."""

    def __init__(self, database: Any) -> None:
        self._administrations = database.administrations

    async def keep(self, names: Mapping[str, Name]) -> None:
        await _upsert(self._administrations, {slug: {"fr": name.fr, "ar": name.ar} for slug, name in names.items()})

    async def named(self, slugs: Collection[str]) -> dict[str, Name]:
        found = await _found(self._administrations, "_id", slugs)
        return {document["_id"]: Name(document["fr"], document["ar"]) for document in found}


async def _insert_new(collection: Any, documents: Sequence[Document]) -> set[str]:
    """Inserts those whose `_id` is not there; gives the `_id`s of these."""
    there: set[str] = set()
    for some in _parts(documents):
        try:
            await collection.insert_many(some, ordered=False)
        except BulkWriteError as error:
            details = error.details or {}
            if details.get("writeConcernErrors") or any(
                problem["code"] != DUPLICATE_KEY for problem in details["writeErrors"]
            ):
                raise
            there |= {some[problem["index"]]["_id"] for problem in details["writeErrors"]}
    return {document["_id"] for document in documents} - there


async def _upsert(collection: Any, values: Mapping[str, Document]) -> None:
    if values:
        await collection.bulk_write(
            [UpdateOne({"_id": id}, {"$set": value}, upsert=True) for id, value in values.items()], ordered=False
        )


async def _found(collection: Any, field: str, values: Collection[str], more: Document | None = None) -> list[Document]:
    """Documents whose `field` is one of `values`."""

    async def find_some(some: list[str]) -> list[Document]:
        return [document async for document in collection.find({field: {"$in": some}, **(more or {})})]

    parts = await asyncio.gather(*(find_some(some) for some in _parts(list(values))))
    return [document for part in parts for document in part]


def _parts(whole: Sequence[Part]) -> Iterator[list[Part]]:
    for start in range(0, len(whole), AT_ONCE):
        yield list(whole[start : start + AT_ONCE])


def _queued(by: Means | Literal["unpublished"], due: datetime) -> str:
    return f"{by}|{due.astimezone(UTC).isoformat(timespec='milliseconds')}"


def _due(by: Means, now: datetime) -> Document:
    return {"$gte": f"{by}|", "$lte": _queued(by, now)}


def _progress(notice: Notice, published: bool) -> Document:
    """What changes in a notice's life; `queue` is None when nothing more is to be done."""
    queue: str | None = None
    if notice.state == "waiting":
        queue = WAITING
    elif notice.state == "pending":
        queue = _queued(notice.by, notice.due)
    elif notice.ended_at and not published:
        queue = _queued("unpublished", notice.ended_at)
    return {
        "state": notice.state,
        "due": notice.due,
        "attempts": notice.attempts,
        "ended_at": notice.ended_at,
        "reason": notice.reason,
        "queue": queue,
    }


def _changes(values: Document) -> Document:
    if values["queue"] is not None:
        return {"$set": values}
    kept = {name: value for name, value in values.items() if name != "queue"}
    return {"$unset": {"queue": ""}, **({"$set": kept} if kept else {})}


def _document(notice: Notice) -> Document:
    progress = _progress(notice, published=True)
    if progress["queue"] is None:
        del progress["queue"]
    return {
        "_id": notice.id,
        "complaint_id": notice.complaint_id,
        "reference": notice.reference,
        "event": notice.event,
        "notice": notice.notice,
        "by": notice.by,
        "facts": {name: getattr(notice.facts, name) for name in Facts.__slots__},
        "language": notice.language,
        "traceparent": notice.traceparent,
        **progress,
    }


def _notice(document: Document) -> Notice:
    own = {name: document[name] for name in Notice.__slots__ if name not in ("id", "facts")}
    return Notice(id=document["_id"], facts=Facts(**document["facts"]), **own)
