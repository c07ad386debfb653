"""Routing's store on MongoDB: complaints with their decisions, the triage queue, the catalogue.

A complaint is one document: submission, judgement, supplements and decisions. Messages and the judgement are kept as
their JSON text: no query looks into them, and the database reads and writes a text many times faster than its fields.
`queue` is where the complaint stands among those that wait for a person, or among the decisions that rest; a complaint
that does neither has none. Every change is conditional on the number of decisions it was made on. What comes before the
submission (a supplement, a withdrawal) waits in a document without one. The catalogue is one document too, so that an
import takes effect whole.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from chikaya_contracts.messages import ALL
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_servicekit import paging
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import TypeAdapter
from pymongo import ASCENDING, InsertOne, UpdateMany, UpdateOne
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    WaitQueueTimeoutError,
)

from chikaya_routing.domain.catalogue import Edition
from chikaya_routing.domain.judgement import Judgement
from chikaya_routing.domain.routing import OPEN, Complaint, Recorded, Supplement, status
from chikaya_routing.stores import Item, order

TRANSIENT: tuple[type[Exception], ...] = (ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError)
"""What means that Mongo is away."""

DUPLICATE_KEY = 11000
AWAY_AFTER_MS = 3_000
ANSWER_WITHIN_MS = 20_000
RELEASED_AT_ONCE = 200
IDS_AT_ONCE = 100
"""In one `$in`: more take more than their share of the local server's time."""
WAITING, RESTING = "triage", "resting"
"""The lists of complaints that wait for a person, and of those with a decision that rests."""
CATALOGUE = {"_id": "catalogue"}
Document = dict[str, Any]
_JUDGEMENT = TypeAdapter(Judgement)


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
        await self._complaints.create_index("queue", name="queue_key", sparse=True)
        await self._complaints.create_index("reference", name="reference", sparse=True)

    async def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    async def known(self, ids: Iterable[str]) -> dict[str, Complaint]:
        found = await self._by_id(ids, {"judgement": False})
        return {document["_id"]: _complaint(document) for document in found if "submission" in document}

    async def _by_id(self, ids: Iterable[str], fields: Mapping[str, bool]) -> list[Document]:
        found = await asyncio.gather(
            *(self._complaints.find({"_id": {"$in": chunk}}, fields).to_list(None) for chunk in _chunks(ids))
        )
        return [document for some in found for document in some]

    async def add(self, decided: Sequence[tuple[Complaint, Judgement]]) -> set[str]:
        if not decided:
            return set()
        documents = {complaint.id: _document(complaint, why) for complaint, why in decided}
        present = await self._insert([{"_id": id_, **content} for id_, content in documents.items()])
        if present:
            absent = {"submission": {"$exists": False}}
            withdrawn = {"_id": {"$in": present}, "withdrawn": True, "status": {"$in": OPEN}}
            await self._complaints.bulk_write(
                [
                    *(UpdateOne({"_id": id_, **absent}, {"$set": documents[id_]}) for id_ in present),
                    # What came before may be a withdrawal: it writes its mark first, and this looks for it last.
                    UpdateMany(withdrawn, {"$set": {"status": "withdrawn"}, "$unset": {"queue": ""}}),
                ],
                ordered=True,
            )
        return set(present)

    async def _insert(self, documents: Sequence[Document]) -> list[str]:
        """Inserts what is not there; gives the ids of what is."""
        try:
            await self._complaints.bulk_write([InsertOne(document) for document in documents], ordered=False)
        except BulkWriteError as error:
            failures = (error.details or {}).get("writeErrors", [])
            if not failures or any(one["code"] != DUPLICATE_KEY for one in failures):
                raise
            return [documents[one["index"]]["_id"] for one in failures]
        return []

    async def replace(self, decided: Sequence[tuple[Complaint, int]]) -> bool:
        ended = {"claim": "", "answered_at": ""}
        result = await self._complaints.bulk_write(
            [UpdateOne({"_id": one.id, "count": known}, _change(one, unset=ended)) for one, known in decided],
            ordered=False,
        )
        return bool(result.matched_count == len(decided))

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
        present = {row["_id"] for row in await self._by_id(ids, {"_id": True})}
        if missing := sorted(set(ids) - present):
            await self._insert([{"_id": id_} for id_ in missing])

    async def answered(self, answers: Sequence[tuple[str, str, datetime]]) -> None:
        received = await self._by_id([complaint_id for complaint_id, *_ in answers], {"received_at": True})
        queue = {row["_id"]: _waiting(row["received_at"], row["_id"]) for row in received if "received_at" in row}
        writes = [
            UpdateOne(
                {"_id": complaint_id, "status": "waiting", "answers": {"$ne": event}},
                {
                    "$set": {"status": "triage", "answered_at": at, "queue": queue[complaint_id]},
                    "$push": {"answers": event},
                    "$unset": {"release_at": ""},
                },
            )
            for complaint_id, event, at in answers
            if complaint_id in queue
        ]
        if writes:
            await self._complaints.bulk_write(writes, ordered=True)

    async def withdraw(self, ids: Sequence[str]) -> None:
        await self._make(ids)
        steps: list[tuple[Document, Document]] = [
            ({}, {"$set": {"withdrawn": True}}),
            ({"status": {"$in": OPEN}}, {"$set": {"status": "withdrawn"}, "$unset": {"claim": ""}}),
            # What rests stays among what rests: who releases it takes it back.
            ({"status": "withdrawn", "release_at": {"$exists": False}}, {"$unset": {"queue": ""}}),
        ]
        await self._complaints.bulk_write(
            [
                UpdateMany({"_id": {"$in": chunk}, **wanted}, change)
                for chunk in _chunks(ids)
                for wanted, change in steps
            ],
            ordered=True,
        )

    async def due(self, now: datetime) -> list[Complaint]:
        return [_complaint(document) for document in await self._resting("", f"{_time(now)}~")]

    async def released(self, complaints: Sequence[Complaint]) -> None:
        await self._complaints.bulk_write(
            [
                UpdateOne(
                    {"_id": one.id, "count": len(one.decisions), "queue": _rests(one.decisions[-1].release_at, one.id)},
                    {"$unset": {"queue": "", "release_at": ""}},
                )
                for one in complaints
            ],
            ordered=False,
        )

    async def resting(self, now: datetime) -> list[Item]:
        return [_item(document) for document in await self._resting(f"{_time(now)}~", "~")]

    async def _resting(self, low: str, high: str) -> list[Document]:
        """What rests until a time between two. A decision rests for a minute: there are few."""
        bounds = {"$gt": f"{RESTING}|{low}", "$lt": f"{RESTING}|{high}"}
        found = self._complaints.find({"queue": bounds}).sort("queue", ASCENDING).limit(RELEASED_AT_ONCE)
        return list(await found.to_list(None))

    async def page(self, after: str | None, size: int) -> list[Item]:
        return [_item(document) for document in await self._queue(None).page(after, size)]

    async def count(self, most: int) -> int:
        return len(await self._queue({"queue": True}).page(None, most))

    def _queue(self, fields: Mapping[str, bool] | None) -> paging.Pages:
        async def read(low: str, high: str) -> list[Document]:
            found = self._complaints.find({"queue": {"$gt": low, "$lt": high}}, fields)
            return list(await found.to_list(None))

        return paging.Pages("queue", WAITING, read)

    async def item(self, id: str) -> Item | None:
        # References are digits, and complaints' ids are not.
        wanted = {"reference": id} if id.isdecimal() else {"_id": id, "submission": {"$exists": True}}
        document = await self._complaints.find_one(wanted)
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
            _change(complaint, unset={"claim": ""}, release_at=release_at),
        )
        return bool(result.matched_count)

    async def take_back(self, complaint: Complaint, known_decisions: int, resting_at: datetime) -> bool:
        result = await self._complaints.update_one(
            {"_id": complaint.id, "count": known_decisions, "release_at": {"$gt": resting_at}},
            _change(complaint, unset={"release_at": ""}),
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


def _chunks(ids: Iterable[str]) -> list[list[str]]:
    every = list(ids)
    return [every[start : start + IDS_AT_ONCE] for start in range(0, len(every), IDS_AT_ONCE)]


# -- documents


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _waiting(received_at: datetime, id_: str) -> str:
    return paging.key(WAITING, order(received_at, id_), id_)


def _rests(release_at: datetime, id_: str) -> str:
    return f"{RESTING}|{_time(release_at)}|{id_}"


def _document(complaint: Complaint, why: Judgement) -> Document:
    submission = complaint.submission
    document = {
        "submission": submission.model_dump_json(exclude_none=True),
        "judgement": _JUDGEMENT.dump_json(why).decode(),
        "received_at": submission.received_at,
        "reference": submission.reference,
        **_decided(complaint),
    }
    if document["status"] == "triage":
        document["queue"] = _waiting(submission.received_at, complaint.id)
    return document


def _change(complaint: Complaint, unset: Mapping[str, str], release_at: datetime | None = None) -> Document:
    """The update that makes a complaint's document say what has been decided, and puts it in its list."""
    decided = _decided(complaint)
    if release_at:
        decided |= {"release_at": release_at, "queue": _rests(release_at, complaint.id)}
    elif decided["status"] == "triage":
        decided["queue"] = _waiting(complaint.submission.received_at, complaint.id)
    else:
        unset = {**unset, "queue": ""}
    return {"$set": decided, "$unset": dict(unset)}


def _decided(complaint: Complaint) -> Document:
    return {
        "decisions": [_recorded(one) for one in complaint.decisions],
        "count": len(complaint.decisions),
        "proposed": complaint.proposed,
        "status": status(complaint),
    }


def _recorded(one: Recorded) -> Document:
    kept = {"type": one.message.TYPE, "message": one.message.model_dump_json(exclude_none=True), "cause": one.cause}
    more = {"traceparent": one.traceparent, "officer": one.officer, "note": one.note}
    return {**kept, "release_at": one.release_at, **{name: value for name, value in more.items() if value is not None}}


def _complaint(document: Mapping[str, Any]) -> Complaint:
    return Complaint(
        submission=ComplaintSubmitted.model_validate_json(document["submission"]),
        decisions=tuple(
            Recorded(
                message=ALL[one["type"]].model_validate_json(one["message"]),  # type: ignore[arg-type]
                cause=one["cause"],
                traceparent=one.get("traceparent"),
                release_at=one["release_at"],
                officer=one.get("officer"),
                note=one.get("note"),
            )
            for one in document["decisions"]
        ),
        supplements=tuple(Supplement(one["id"], one["at"], one["text"]) for one in document.get("supplements", ())),
        proposed=document["proposed"],
        withdrawn=document.get("withdrawn", False),
    )


def _item(document: Mapping[str, Any]) -> Item:
    claim = document.get("claim") or {}
    return Item(
        complaint=_complaint(document),
        status=document["status"],
        judgement=json.loads(document["judgement"]),
        held_by=claim.get("by"),
        held_until=claim.get("until"),
        answered_at=document.get("answered_at"),
        release_at=document.get("release_at"),
    )
