"""Cases, the catalogue and counters in MongoDB. Every query is bounded by a range of an index.

What is written often is inserted, and never replaced: an insert costs a small part of an update. A case is its steps
(see `documents`), one a write, and `_id` is `<complaint id>/<version>`: of two writers of one version, one loses, which
is all the locking that there is. Lists are sorted by one composed text each, so that a page is one range of one index.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import TypeAlias, cast

from chikaya_contracts.envelope import Event
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.notification import NoticeOutcome
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import ASCENDING, DESCENDING, IndexModel, ReplaceOne, UpdateOne

from ..domain.case import Rules, armed
from ..domain.case_file import CaseFile
from .cases import Cases, Change, Due, Listed, ReferenceTaken, Waiting, listed, parked_key, sortable
from .documents import message, read, restored, step
from .inserts import Document, Inserts

AT_ONCE = 100
"""Ids in one query: more are looked up no faster."""
STEPS_AT_ONCE = 5
"""Steps of a case that are asked for first: most cases have no more."""
LAST = "~"
"""Sorts after all that a key is composed of."""


class Database:
    """The connection, and the indexes."""

    def __init__(self, uri: str, name: str) -> None:
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            uri,
            tz_aware=True,
            w="majority",
            serverSelectionTimeoutMS=3_000,
            connectTimeoutMS=3_000,
            socketTimeoutMS=10_000,
            appname="tracking",
        )
        self.db = self._client[name]

    async def ping(self) -> None:
        """Raises while the database does not answer, or does not let us in."""
        await self.db.command("ping")
        await self.db.steps.find_one({"_id": ""})

    async def create_indexes(self) -> None:
        """All that the queries below rely on; once more does no harm."""
        for collection, field in (("steps", "due"), ("references", "phone"), ("parked", "key")):
            await self.db[collection].create_indexes([IndexModel([(field, ASCENDING)], name=field, sparse=True)])
        await self.db.notices.create_indexes([IndexModel([("complaint", ASCENDING)], name="complaint")])
        await self.db.tries.create_indexes([IndexModel([("expires", ASCENDING)], name="ttl", expireAfterSeconds=0)])

    async def close(self) -> None:
        """Ends the connections."""
        self._client.close()


class MongoCases(Cases):
    """Cases: `steps`, `references` (which complaint has it, and whose telephone), `parked`, `notices`."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._steps, self._references = database.db.steps, database.db.references
        self._parked, self._notices = database.db.parked, database.db.notices
        self._new_steps, self._new_references = Inserts(self._steps), Inserts(self._references)
        self._new_parked, self._new_notices = Inserts(self._parked), Inserts(self._notices)

    async def load(self, complaint_ids: Collection[str]) -> Mapping[str, CaseFile]:
        steps: dict[str, list[Document]] = {complaint_id: [] for complaint_id in complaint_ids}
        asked = list(complaint_ids)
        while asked:
            ids = [_step_id(id, len(steps[id]) + n) for id in asked for n in range(1, STEPS_AT_ONCE + 1)]
            found = {row["_id"]: row for row in await _find(self._steps, ids)}
            further: list[str] = []
            for complaint_id in asked:
                known = steps[complaint_id]
                before = len(known)
                while row := found.get(_step_id(complaint_id, len(known) + 1)):
                    known.append(row)
                if len(known) == before + STEPS_AT_ONCE:
                    further.append(complaint_id)
            asked = further
        return {complaint_id: restored(complaint_id, rows) for complaint_id, rows in steps.items() if rows}

    async def save(self, changes: Sequence[Change], rules: Rules) -> set[str]:
        await self._take_references(
            [change.after for change in changes if change.after.filing and not change.before.filing]
        )
        steps = [
            {"_id": _step_id(change.complaint_id, change.after.version), **_due(change, rules), **step(change)}
            for change in changes
        ]
        return {changes[index].complaint_id for index in await self._new_steps.insert(steps)}

    async def _take_references(self, files: Sequence[CaseFile]) -> None:
        rows: list[Document] = []
        for file in files:
            one = listed(file)
            row = {"_id": one.reference, "complaint": one.complaint_id}
            if file.filing and (phone := file.filing.contact.phone):
                row["phone"] = _phone_key(phone, one.received_at, one.complaint_id)
            rows.append(row)
        taken = [rows[index] for index in await self._new_references.insert(rows)]
        holders = {row["_id"]: row["complaint"] for row in await _find(self._references, [row["_id"] for row in taken])}
        for row in taken:
            if holders[row["_id"]] != row["complaint"]:
                raise ReferenceTaken(f"the reference of complaint {row['complaint']} is another's already")

    async def erase(self, file: CaseFile) -> None:
        ids = [_step_id(file.complaint_id, version) for version in range(1, file.version + 1)]
        for chunk in _chunks(ids):
            nothing = {"parked": "", "let_in": "", "overflowed": ""}
            await self._steps.update_many({"_id": {"$in": chunk}}, {"$unset": nothing})

    async def by_reference(self, reference: str) -> CaseFile | None:
        row = await self._references.find_one({"_id": reference})
        return (await self.load([row["complaint"]])).get(row["complaint"]) if row else None

    async def by_phone(self, phone: str, before: tuple[datetime, str] | None, size: int) -> list[Listed]:
        end = _phone_key(phone, *before) if before else f"{phone}|{LAST}"
        found = self._references.find({"phone": {"$gt": f"{phone}|", "$lt": end}}).sort("phone", DESCENDING).limit(size)
        ids = [row["complaint"] async for row in found]
        files = await self.load(ids)
        return [listed(files[complaint_id]) for complaint_id in ids if complaint_id in files]

    async def due(self, now: datetime, page: int) -> AsyncIterator[list[Due]]:
        # One cursor over the whole range: asking again for each page would scan the range again each time.
        until = {"$gt": "", "$lt": f"{sortable(now)}|{LAST}"}
        found = self._steps.find({"due": until}, {"due": 1}, batch_size=page).sort("due", ASCENDING)
        entries: list[str] = []
        async for row in found:
            entries.append(row["_id"])
            if len(entries) == page:
                yield await self._due_cases(entries)
                entries = []
        if entries:
            yield await self._due_cases(entries)

    async def _due_cases(self, entries: list[str]) -> list[Due]:
        of_each = {id: tuple(mine) for id, mine in groupby(sorted(entries), key=_complaint_of)}
        files = await self.load(of_each)
        return [Due(file.case, of_each[id]) for id, file in files.items() if file.case]

    async def look_again(self, moments: Mapping[str, datetime | None]) -> None:
        writes = [
            UpdateOne(
                {"_id": entry},
                {"$set": {"due": _due_key(moment, _complaint_of(entry))}} if moment else {"$unset": {"due": ""}},
            )
            for entry, moment in moments.items()
        ]
        if writes:
            await self._steps.bulk_write(writes, ordered=False)

    async def parked(self, after: str, size: int) -> list[Waiting]:
        found = self._parked.find({"key": {"$gt": after, "$lt": LAST}}).sort("key", ASCENDING).limit(size)
        rows = [(row["key"], row["complaint"]) async for row in found]
        files = await self.load({complaint_id for _, complaint_id in rows})
        pages: list[Waiting] = []
        for key, complaint_id in rows:
            file = files.get(complaint_id) or CaseFile(complaint_id)
            pages.append(Waiting(key, file, next((one for one in file.parked if parked_key(one) == key), None)))
        return pages

    async def count_parked(self, before: datetime) -> int:
        return await self._parked.count_documents({"key": {"$gt": "", "$lt": sortable(before)}})

    async def list_parked(self, rows: Mapping[str, str]) -> None:
        await self._new_parked.insert([{"_id": key, "key": key, "complaint": id} for key, id in rows.items()])

    async def unlist(self, keys: Sequence[str]) -> None:
        for chunk in _chunks(keys):
            await self._parked.delete_many({"_id": {"$in": chunk}})

    async def note(self, outcomes: Sequence[Event[NoticeOutcome]]) -> None:
        kept = {
            outcome.id: {"_id": outcome.id, "complaint": outcome.data.complaint_id, **message(outcome.data)}
            for outcome in outcomes
        }
        await self._new_notices.insert(list(kept.values()))

    async def notices(self, complaint_id: str) -> list[NoticeOutcome]:
        found = [cast(NoticeOutcome, read(row)) async for row in self._notices.find({"complaint": complaint_id})]
        return sorted(found, key=lambda outcome: outcome.at)


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
            ReplaceOne({"_id": slug}, row.model_dump(mode="json", exclude_none=True), upsert=True)
            for slug, row in latest.items()
            if slug not in later
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


# -- keys -------------------------------------------------------------------------------------------------------------


def _step_id(complaint_id: str, version: int) -> str:
    return f"{complaint_id}/{version}"


def _complaint_of(step_id: str) -> str:
    return step_id.rpartition("/")[0]


def _phone_key(phone: str, received_at: datetime, complaint_id: str) -> str:
    return f"{phone}|{sortable(received_at)}|{complaint_id}"


def _due_key(moment: datetime, complaint_id: str) -> str:
    return f"{sortable(moment)}|{complaint_id}"


def _due(change: Change, rules: Rules) -> Document:
    moment = armed(change.before.case, change.after.case, rules)
    return {"due": _due_key(moment, change.complaint_id)} if moment else {}


# -- commands ---------------------------------------------------------------------------------------------------------

Rows: TypeAlias = AsyncIOMotorCollection[Document]


def _chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))


async def _find(collection: Rows, ids: Sequence[str]) -> list[Document]:
    """The documents with these ids that exist."""
    found = await asyncio.gather(*(collection.find({"_id": {"$in": chunk}}).to_list(None) for chunk in _chunks(ids)))
    return [row for rows in found for row in rows]
