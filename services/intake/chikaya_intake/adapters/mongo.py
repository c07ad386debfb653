"""Intake's database on MongoDB: complaints with their outbox, reference counters, channels and their keys."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from datetime import UTC
from typing import Any

from chikaya_contracts.legal_time import Deadlines
from chikaya_contracts.messages.intake import ComplaintSubmitted
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import ASCENDING, IndexModel, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, ConnectionFailure, DuplicateKeyError, ExecutionTimeout, WaitQueueTimeoutError

from ..domain.acceptance import Complaint, Sender
from ..stores import APART, NOTHING, Book, Channel, Clash, Waiting

TRANSIENT: tuple[type[Exception], ...] = (ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError)
"""What means that Mongo is away."""

Database = AsyncIOMotorDatabase[dict[str, Any]]

DUPLICATE_KEY = 11000
AWAY_AFTER_MS = 3_000
ANSWER_WITHIN_MS = 20_000
IDS_AT_ONCE = 100  # the local server takes long over a longer list
FORGOTTEN_AT_ONCE = 500


def connect(uri: str, database: str) -> Database:
    """The database, with writes that a crash of the server cannot take back."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        uri,
        tz_aware=True,
        tzinfo=UTC,
        w="majority",
        journal=True,
        serverSelectionTimeoutMS=AWAY_AFTER_MS,
        connectTimeoutMS=AWAY_AFTER_MS,
        waitQueueTimeoutMS=AWAY_AFTER_MS,
        socketTimeoutMS=ANSWER_WITHIN_MS,
        # Repeated by the driver, an insert that was not acknowledged would look like another's of the same key.
        retryWrites=False,
    )
    return client[database]


async def ping(database: Database) -> None:
    """Raises while the server does not answer."""
    await database.command("ping")


class MongoComplaints:
    """`stores.Complaints`. One document a complaint, its message in it as JSON: one insert is the acceptance, the
    outbox and the key's memory. `_id` is the sender's key where there is one, so that a key is unique with no index
    more; `page` is `"<book> <number>"`, so that one index serves the relay and the removal.
    """

    def __init__(self, database: Database) -> None:
        self._complaints = database["complaints"]
        self._counters = database["counters"]
        self._books = database["books"]
        self._indexed = False

    async def create_indexes(self) -> None:
        """Before the first write, whoever makes it: without them a reference would not be unique."""
        await self._complaints.create_indexes(
            [
                IndexModel([("reference", ASCENDING)], name="reference", unique=True),
                IndexModel([("page", ASCENDING)], name="page"),
                IndexModel([("attachments", ASCENDING)], name="attachments", sparse=True),
            ]
        )
        self._indexed = True

    async def lease(self, year: int, count: int) -> int:
        counter = {"_id": f"references {year}"}
        while True:
            # Not an upsert: of two at once, the local server answers one with nothing.
            found = await self._counters.find_one_and_update(
                counter, {"$inc": {"given": count}}, return_document=ReturnDocument.AFTER
            )
            if found:
                return int(found["given"]) - count + 1
            with suppress(DuplicateKeyError):
                await self._counters.insert_one({**counter, "given": 0})

    async def sent_by(self, senders: Collection[Sender]) -> dict[Sender, Complaint]:
        names = [_name(sender) for sender in senders]
        chunks = [names[start : start + IDS_AT_ONCE] for start in range(0, len(names), IDS_AT_ONCE)]
        found = [_complaint(row) for chunk in chunks async for row in self._complaints.find({"_id": {"$in": chunk}})]
        return {complaint.sender: complaint for complaint in found if complaint.sender}

    async def add(self, complaints: Sequence[Complaint], book: str, page: int) -> dict[str, Clash]:
        if not self._indexed:
            await self.create_indexes()
        place = _place(book, page)
        try:
            await self._complaints.insert_many([_row(complaint, place) for complaint in complaints], ordered=False)
        except BulkWriteError as error:
            details = error.details or {}
            failures = details.get("writeErrors", [])
            if details.get("writeConcernErrors") or not failures or any(f["code"] != DUPLICATE_KEY for f in failures):
                raise
            return {failure["op"]["complaint_id"]: _clash(failure) for failure in failures}
        return {}

    async def accompanied(self, attachments: Sequence[str]) -> dict[str, str]:
        wanted = set(attachments)
        rows = self._complaints.find({"attachments": {"$in": list(wanted)}}, {"attachments": 1, "complaint_id": 1})
        return {file: row["complaint_id"] async for row in rows for file in row["attachments"] if file in wanted}

    async def books(self) -> list[Book]:
        rows = self._books.find().sort("_id", ASCENDING)
        return [Book(row["_id"], row["relayed"], row["seen"]) async for row in rows]

    async def live(self, book: Book) -> None:
        change = {"$max": {"relayed": book.relayed}, "$set": {"seen": book.seen}}
        await self._books.update_one({"_id": book.id}, change, upsert=True)

    async def mark(self, book: str, relayed: int) -> None:
        await self._books.update_one({"_id": book}, {"$max": {"relayed": relayed}})

    async def remove_book(self, id: str) -> None:
        await self._books.delete_one({"_id": id})

    async def waiting(self, book: str, after: int) -> Waiting:
        found = self._complaints.aggregate(
            [
                {"$match": {"page": _pages(book, after)}},
                {
                    "$group": {
                        "_id": None,
                        "count": {"$sum": 1},
                        "oldest": {"$min": "$page"},
                        "newest": {"$max": "$page"},
                    }
                },
            ]
        )
        async for row in found:
            return Waiting(row["count"], _number(row["oldest"]), _number(row["newest"]))
        return NOTHING

    async def entries(
        self, book: str, after: int, until: int, at_once: int
    ) -> AsyncIterator[list[tuple[int, Complaint]]]:
        # One cursor for all: the local server's `limit` does not end a scan early.
        cursor = self._complaints.find({"page": _pages(book, after, until)}, batch_size=at_once)
        batch: list[tuple[int, Complaint]] = []
        async for row in cursor.sort("page", ASCENDING):
            batch.append((_number(row["page"]), _complaint(row)))
            if len(batch) == at_once:
                yield batch
                batch = []
        if batch:
            yield batch

    async def set_apart(self, book: str, page: int, complaints: Sequence[Complaint]) -> None:
        # One update each: of `$in` together with another field, the local server makes a scan of everything.
        change = {"$set": {"page": _place(APART, page)}}
        moves = [UpdateOne({"_id": _id(complaint), "page": _place(book, page)}, change) for complaint in complaints]
        if moves:
            await self._complaints.bulk_write(moves, ordered=False)

    async def forget(self, book: str, until: int) -> None:
        old = self._complaints.find(
            {"page": _pages(book, 0, until)}, {"_id": 0, "page": 1}, batch_size=FORGOTTEN_AT_ONCE
        )
        count, page = 0, ""
        async for row in old.sort("page", ASCENDING):
            count, page = count + 1, row["page"]
            if count % FORGOTTEN_AT_ONCE == 0:
                await self._forget_up_to(book, page)
        if count % FORGOTTEN_AT_ONCE:
            await self._forget_up_to(book, page)

    async def _forget_up_to(self, book: str, page: str) -> None:
        await self._complaints.delete_many({"page": _pages(book, 0, _number(page))})


class MongoChannels:
    """`stores.Channels`."""

    def __init__(self, database: Database) -> None:
        self._channels = database["channels"]

    async def all(self) -> list[Channel]:
        rows = self._channels.find().sort("_id", ASCENDING)
        return [Channel(row["_id"], bytes(row["key_hash"]), row["since"]) async for row in rows]

    async def add(self, channel: Channel) -> None:
        content = {"key_hash": channel.key_hash, "since": channel.since}
        await self._channels.update_one({"_id": channel.name}, {"$set": content}, upsert=True)

    async def revoke(self, name: str) -> bool:
        return (await self._channels.delete_one({"_id": name})).deleted_count == 1


def _place(book: str, page: int) -> str:
    return f"{book} {page:015d}"


def _pages(book: str, after: int, until: int | None = None) -> dict[str, str]:
    # "!" is the first character after the space that ends a book's id.
    end = {"$lt": f"{book}!"} if until is None else {"$lte": _place(book, until)}
    return {"$gt": _place(book, after), **end}


def _number(place: str) -> int:
    return int(place.rsplit(" ", 1)[1])


def _clash(failure: dict[str, Any]) -> Clash:
    return "key" if "_id" in failure["keyPattern"] else "reference"


def _name(sender: Sender) -> str:
    # A channel's name has no space.
    return f"{sender.channel} {sender.key}"


def _id(complaint: Complaint) -> str:
    return _name(complaint.sender) if complaint.sender else complaint.id


def _row(complaint: Complaint, place: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "_id": _id(complaint),
        "complaint_id": complaint.id,
        "reference": complaint.message.reference,
        "fingerprint": complaint.fingerprint,
        "relay_due": complaint.deadlines.relay,
        "answer_due": complaint.deadlines.answer,
        "accepted_at": complaint.accepted_at,
        "page": place,
        "message": complaint.message.model_dump_json(exclude_none=True),
    }
    if files := complaint.message.attachments:
        row["attachments"] = [file.id for file in files]
    if complaint.traceparent:
        row["traceparent"] = complaint.traceparent
    return row


def _complaint(row: dict[str, Any]) -> Complaint:
    message = ComplaintSubmitted.model_validate_json(row["message"])
    return Complaint(
        id=row["complaint_id"],
        channel=message.channel,
        key=row["_id"].partition(" ")[2] or None,
        fingerprint=bytes(row["fingerprint"]),
        accepted_at=row["accepted_at"],
        deadlines=Deadlines(row["relay_due"], row["answer_due"]),
        message=message,
        traceparent=row.get("traceparent"),
    )
