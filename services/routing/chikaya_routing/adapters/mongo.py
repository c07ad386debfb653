"""Routing's store on MongoDB: complaints with their decisions, the triage queue, the catalogue.

A complaint is one document: submission, judgement, supplements and decisions. `status` and `received_at` index the
queue, `release_at` the decisions that rest. Every change is conditional on the number of decisions it was made on.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from chikaya_contracts.messages import ALL
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.intake import ComplaintSubmitted
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError, ConnectionFailure

from chikaya_routing.domain.routing import Complaint, Recorded, Supplement, status

TRANSIENT = (ConnectionFailure,)
DUPLICATE_KEY = 11000
RELEASED_AT_ONCE = 200
OPEN = ("triage", "waiting")


class MongoStore:
    """Complaints and catalogue in routing's own database."""

    def __init__(self, uri: str, database: str) -> None:
        self._client: AsyncIOMotorClient[Any] = AsyncIOMotorClient(
            uri, tz_aware=True, serverSelectionTimeoutMS=3_000, appname="routing"
        )
        self._complaints = self._client[database]["complaints"]
        self._administrations = self._client[database]["administrations"]
        self._versions = self._client[database]["versions"]

    async def ping(self) -> None:
        """Raises ConnectionFailure while the server does not answer."""
        await self._client.admin.command("ping")

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

    async def load(self, ids: Iterable[str]) -> dict[str, Complaint]:
        """Those of the complaints that have been decided, in one query."""
        found = self._complaints.find({"_id": {"$in": list(ids)}, "submission": {"$exists": True}})
        return {document["_id"]: _complaint(document) async for document in found}

    async def waiting_supplements(self, ids: Iterable[str]) -> dict[str, tuple[Supplement, ...]]:
        """What was added to complaints that are not decided yet: it may come before the submission."""
        found = self._complaints.find({"_id": {"$in": list(ids)}, "submission": {"$exists": False}})
        return {document["_id"]: _supplements(document) async for document in found}

    async def add(self, decided: Sequence[tuple[Complaint, dict[str, Any]]]) -> set[str]:
        """Keeps new complaints with their judgements, in one bulk; gives the ids of those kept by another meanwhile."""
        if not decided:
            return set()
        writes = [
            UpdateOne(
                {"_id": complaint.id, "submission": {"$exists": False}},
                {"$set": {**_document(complaint), "judgement": judgement}},
                upsert=True,
            )
            for complaint, judgement in decided
        ]
        try:
            await self._complaints.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if any(one["code"] != DUPLICATE_KEY for one in failed):
                raise
            return {decided[one["index"]][0].id for one in failed}
        return set()

    async def replace(self, complaint: Complaint, known_decisions: int, more: dict[str, Any] | None = None) -> bool:
        """Keeps a complaint's further decisions; false when another has decided since it was read."""
        result = await self._complaints.update_one(
            {"_id": complaint.id, "count": known_decisions},
            {"$set": {**_decided(complaint), **(more or {})}, "$unset": {"claim": ""}},
        )
        return bool(result.matched_count)

    async def supplement(self, added: Sequence[tuple[str, Supplement]]) -> None:
        """Keeps what citizens added, each once, in one bulk."""
        writes = [
            UpdateOne(
                {"_id": complaint_id, "supplements.id": {"$ne": one.id}},
                {"$push": {"supplements": {"id": one.id, "at": one.at, "text": one.text}}},
                upsert=True,
            )
            for complaint_id, one in added
        ]
        try:
            await self._complaints.bulk_write(writes, ordered=True)
        except BulkWriteError as error:
            # A repeat matches nothing, and its upsert meets the document itself.
            failed = error.details["writeErrors"]
            if any(one["code"] != DUPLICATE_KEY for one in failed):
                raise
            if rest := added[failed[0]["index"] + 1 :]:
                await self.supplement(rest)

    async def move(self, ids: Sequence[str], sources: Sequence[str], target: str) -> None:
        """Sets the status of those complaints that are in one of `sources`."""
        await self._complaints.update_many(
            {"_id": {"$in": list(ids)}, "status": {"$in": list(sources)}}, {"$set": {"status": target}}
        )

    async def due(self, now: datetime) -> list[Complaint]:
        """Complaints with a decision that has rested long enough, the longest first."""
        found = self._complaints.find({"release_at": {"$lte": now}}).sort("release_at", ASCENDING)
        return [_complaint(document) async for document in found.limit(RELEASED_AT_ONCE)]

    async def released(self, complaints: Sequence[Complaint]) -> None:
        """These have been published: they rest no longer."""
        await self._complaints.bulk_write(
            [
                UpdateOne({"_id": one.id, "count": len(one.decisions)}, {"$unset": {"release_at": ""}})
                for one in complaints
            ],
            ordered=False,
        )

    async def catalogue(self) -> tuple[int, dict[str, AdministrationListed]]:
        """The catalogue and its version; (0, {}) before the first import."""
        version = await self.catalogue_version()
        found = self._administrations.find({"_id": {"$gt": ""}})
        return version, {row["_id"]: AdministrationListed.model_validate(row["row"]) async for row in found}

    async def catalogue_version(self) -> int:
        """The number of the last import; 0 before the first."""
        document = await self._versions.find_one({"_id": "catalogue"})
        return int(document["version"]) if document else 0

    async def keep_catalogue(
        self, version: int, changed: Sequence[AdministrationListed], removed: Sequence[str]
    ) -> None:
        """Keeps changed rows, takes out removed ones, then makes the version known."""
        writes: list[Any] = [
            ReplaceOne({"_id": row.slug}, {"_id": row.slug, "row": row.model_dump(mode="json")}, upsert=True)
            for row in changed
        ]
        if writes:
            await self._administrations.bulk_write(writes, ordered=False)
        if removed:
            await self._administrations.delete_many({"_id": {"$in": list(removed)}})
        await self._versions.update_one({"_id": "catalogue"}, {"$set": {"version": version}}, upsert=True)


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
                "supplements": one.supplements,
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


def _complaint(document: dict[str, Any]) -> Complaint:
    return Complaint(
        submission=ComplaintSubmitted.model_validate(document["submission"]),
        decisions=tuple(
            Recorded(
                message=ALL[one["type"]].model_validate(one["message"]),
                cause=one["cause"],
                traceparent=one["traceparent"],
                supplements=one["supplements"],
                release_at=one["release_at"],
                officer=one["officer"],
                note=one["note"],
            )
            for one in document["decisions"]
        ),
        supplements=_supplements(document),
        proposed=document["proposed"],
    )


def _supplements(document: dict[str, Any]) -> tuple[Supplement, ...]:
    found = document.get("supplements", ())
    return tuple(Supplement(one["id"], one["at"].astimezone(UTC), one["text"]) for one in found)
