"""Intake's database on MongoDB: complaints with their outbox, reference counters, channels and their keys."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from chikaya_contracts.legal_time import Deadlines
from chikaya_contracts.messages.intake import ComplaintSubmitted
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.errors import BulkWriteError, ConnectionFailure, DuplicateKeyError, ExecutionTimeout, WaitQueueTimeoutError

from ..domain.acceptance import Complaint, Sender
from ..stores import Channel

TRANSIENT: tuple[type[Exception], ...] = (ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError)
"""What means that Mongo is away."""

Database = AsyncIOMotorDatabase[dict[str, Any]]

DUPLICATE_KEY = 11000
AWAY_AFTER_MS = 3_000
ANSWER_WITHIN_MS = 20_000


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
    )
    return client[database]


async def ping(database: Database) -> None:
    """Raises while the server does not answer."""
    await database.command("ping")


class MongoComplaints:
    """`stores.Complaints`. One document a complaint, its message in it as JSON: one insert is the acceptance, the
    outbox and the key's memory. A TTL index removes it once it is relayed and its key has expired."""

    def __init__(self, database: Database) -> None:
        self._complaints = database["complaints"]
        self._counters = database["counters"]
        self._indexed = False

    async def create_indexes(self) -> None:
        """Before the first write, whoever makes it: without them a key would not be unique."""
        await self._complaints.create_indexes(
            [
                IndexModel([("sender", ASCENDING)], name="sender", unique=True, sparse=True),
                IndexModel([("reference", ASCENDING)], name="reference", unique=True),
                IndexModel([("attachments", ASCENDING)], name="attachments", sparse=True),
                IndexModel([("waiting_since", ASCENDING)], name="waiting", sparse=True),
                IndexModel([("forget_at", ASCENDING)], name="forget", expireAfterSeconds=0),
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
        found = self._complaints.find({"sender": {"$in": [_name(sender) for sender in senders]}})
        complaints = [_complaint(row) async for row in found]
        return {complaint.sender: complaint for complaint in complaints if complaint.sender}

    async def add(self, complaints: Sequence[Complaint]) -> set[str]:
        if not complaints:
            return set()
        if not self._indexed:
            await self.create_indexes()
        try:
            await self._complaints.insert_many([_row(complaint) for complaint in complaints], ordered=False)
        except BulkWriteError as error:
            failures = (error.details or {}).get("writeErrors", [])
            if not failures or not all(map(_is_repeated_key, failures)):
                raise
            return {failure["op"]["_id"] for failure in failures}
        return set()

    async def accompanied(self, attachments: Sequence[str]) -> dict[str, str]:
        wanted = set(attachments)
        rows = self._complaints.find({"attachments": {"$in": list(wanted)}}, {"attachments": 1})
        return {file: row["_id"] async for row in rows for file in row["attachments"] if file in wanted}

    async def waiting(self, accepted_until: datetime, at_once: int) -> AsyncIterator[list[Complaint]]:
        # One cursor for all: the local server's `limit` does not end a scan early.
        cursor = self._complaints.find({"waiting_since": {"$lte": accepted_until}}, batch_size=at_once)
        batch: list[Complaint] = []
        async for row in cursor.sort("waiting_since", ASCENDING):
            batch.append(_complaint(row))
            if len(batch) == at_once:
                yield batch
                batch = []
        if batch:
            yield batch

    async def count_waiting(self, accepted_until: datetime) -> int:
        return await self._complaints.count_documents({"waiting_since": {"$lte": accepted_until}})

    async def relayed(self, ids: Sequence[str], forget_at: datetime) -> None:
        await self._complaints.update_many(
            {"_id": {"$in": list(ids)}}, {"$unset": {"waiting_since": ""}, "$set": {"forget_at": forget_at}}
        )


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


def _is_repeated_key(failure: dict[str, Any]) -> bool:
    return failure["code"] == DUPLICATE_KEY and "sender" in failure.get("keyPattern", {})


def _name(sender: Sender) -> str:
    # A channel's name has no space.
    return f"{sender.channel} {sender.key}"


def _row(complaint: Complaint) -> dict[str, Any]:
    row: dict[str, Any] = {
        "_id": complaint.id,
        "channel": complaint.channel,
        "reference": complaint.message.reference,
        "fingerprint": complaint.fingerprint,
        "relay_due": complaint.deadlines.relay,
        "answer_due": complaint.deadlines.answer,
        "accepted_at": complaint.accepted_at,
        "waiting_since": complaint.accepted_at,
        "message": complaint.message.model_dump_json(exclude_none=True),
    }
    if files := complaint.message.attachments:
        row["attachments"] = [file.id for file in files]
    if complaint.sender:
        row["sender"] = _name(complaint.sender)
    if complaint.traceparent:
        row["traceparent"] = complaint.traceparent
    return row


def _complaint(row: dict[str, Any]) -> Complaint:
    return Complaint(
        id=row["_id"],
        channel=row["channel"],
        key=row["sender"].split(" ", 1)[1] if "sender" in row else None,
        fingerprint=bytes(row["fingerprint"]),
        accepted_at=row["accepted_at"],
        deadlines=Deadlines(row["relay_due"], row["answer_due"]),
        message=ComplaintSubmitted.model_validate_json(row["message"]),
        traceparent=row.get("traceparent"),
    )
