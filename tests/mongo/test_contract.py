"""What the services ask of a MongoDB server, on whichever server there is.

    pytest tests/mongo                                                     the local server
    MONGO_URI=mongodb://user:password@host/database pytest tests/mongo     any other

What is not here is not to be relied on. The local server (secantusd-py 0.7.0b3) answers as MongoDB does, but for one
thing found here: of several `find_one_and_update(…, upsert=True)` at once on an absent document, some are answered None
although their change was made. Make the document first. Its costs differ too:

- `limit` does not end a scan early, and a sort after a range of a compound index is done in memory: bound both ends.
- A top-level `$or`, and a range of `_id`, read the whole collection: page by one composed key with an index of its own.
- `find_one_and_update` takes time with the size of the collection, even by `_id` (28 ms at 1,000, 155 ms at 16,000);
  `update_one` does not (3 ms).
- `$in` takes more than its share of time as it grows: 100 ids in 11 to 19 ms, 500 in 185 to 320 ms.
"""

import asyncio
import os
import random
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Int64
from gridfs.errors import FileExists
from motor.motor_asyncio import AsyncIOMotorCollection, AsyncIOMotorDatabase, AsyncIOMotorGridFSBucket
from pymongo import DeleteOne, IndexModel, InsertOne, ReplaceOne, ReturnDocument, UpdateMany, UpdateOne, WriteConcern
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

Documents = AsyncIOMotorCollection[dict[str, Any]]

DUPLICATE = 11000
NOW = datetime(2026, 3, 1, 9, 30, 0, 123_000, tzinfo=UTC)


class TestIndexes:
    async def test_a_unique_key_holds_against_every_kind_of_write(self, documents: Documents) -> None:
        await documents.create_index("reference", unique=True)
        await documents.insert_many([{"reference": 1}, {"reference": 3}])
        for write in (
            documents.insert_one({"reference": 1}),
            documents.update_one({"reference": 2}, {"$set": {"reference": 1}}, upsert=True),
            documents.update_one({"reference": 3}, {"$set": {"reference": 1}}),
            documents.find_one_and_update({"reference": 3}, {"$set": {"reference": 1}}),
            documents.replace_one({"reference": 3}, {"reference": 1}),
        ):
            with pytest.raises(DuplicateKeyError) as refused:
                await write
            assert refused.value.code == DUPLICATE
        assert await documents.count_documents({}) == 2

    async def test_the_error_says_which_index_and_which_value(self, documents: Documents) -> None:
        await documents.create_index([("channel", 1), ("key", 1)], unique=True)
        await documents.insert_one({"channel": "kiosk", "key": "k"})
        with pytest.raises(DuplicateKeyError) as refused:
            await documents.insert_one({"channel": "kiosk", "key": "k"})
        assert refused.value.details is not None
        assert refused.value.details["keyPattern"] == {"channel": 1, "key": 1}
        assert refused.value.details["keyValue"] == {"channel": "kiosk", "key": "k"}
        await documents.insert_one({"channel": "portal", "key": "k"})

    async def test_a_partial_unique_index_binds_only_what_its_filter_says(self, documents: Documents) -> None:
        await documents.create_index("slug", unique=True, partialFilterExpression={"active": True})
        await documents.insert_many([{"slug": "a", "active": False}, {"slug": "a", "active": False}])
        await documents.insert_one({"slug": "a", "active": True})
        with pytest.raises(DuplicateKeyError):
            await documents.insert_one({"slug": "a", "active": True})
        with pytest.raises(DuplicateKeyError):
            await documents.update_one({"active": False}, {"$set": {"active": True}})

    async def test_a_sparse_unique_index_leaves_out_what_lacks_the_field(self, documents: Documents) -> None:
        await documents.create_index("telephone", unique=True, sparse=True)
        await documents.insert_many([{"n": 1}, {"n": 2}, {"telephone": "+212612345678"}])
        with pytest.raises(DuplicateKeyError):
            await documents.insert_one({"telephone": "+212612345678"})

    async def test_a_unique_index_over_array_elements(self, documents: Documents) -> None:
        await documents.create_index("event_ids", unique=True)
        await documents.insert_one({"event_ids": ["a", "b"]})
        with pytest.raises(DuplicateKeyError):
            await documents.insert_one({"event_ids": ["b", "c"]})

    async def test_making_the_same_index_again_is_no_error_and_another_one_is(self, documents: Documents) -> None:
        for _ in range(2):
            await documents.create_indexes(
                [IndexModel([("a", 1)], name="a"), IndexModel([("b", -1), ("c", 1)], name="b", unique=True)]
            )
        found = await documents.index_information()
        assert sorted(found) == ["_id_", "a", "b"]
        assert found["b"]["unique"]
        assert found["b"]["key"] == [("b", -1), ("c", 1)]
        with pytest.raises(OperationFailure):
            await documents.create_index("a", name="a", unique=True)

    async def test_a_unique_index_is_not_made_over_duplicates(self, documents: Documents) -> None:
        await documents.insert_many([{"k": 1}, {"k": 1}])
        with pytest.raises(OperationFailure) as refused:
            await documents.create_index("k", unique=True)
        assert refused.value.code == DUPLICATE

    async def test_one_of_thirty_insertions_at_once_wins(self, documents: Documents) -> None:
        await documents.create_index("k", unique=True)
        for k in range(3):
            answers = await asyncio.gather(*(documents.insert_one({"k": k}) for _ in range(30)), return_exceptions=True)
            losers = [answer for answer in answers if isinstance(answer, BaseException)]
            assert len(losers) == 29
            assert all(isinstance(loser, DuplicateKeyError) for loser in losers)

    @pytest.mark.skipif("MONGO_CONTRACT_SLOW" not in os.environ, reason="a server looks for expired once a minute")
    async def test_what_has_expired_is_deleted(self, documents: Documents) -> None:
        await documents.create_index("expires_at", expireAfterSeconds=0)
        now = datetime.now(UTC)
        await documents.insert_many(
            [{"expires_at": now - timedelta(seconds=30)}, {"expires_at": now + timedelta(hours=1)}, {"n": 1}]
        )
        async with asyncio.timeout(150):
            while await documents.count_documents({}) > 2:
                await asyncio.sleep(1)


class TestWrites:
    async def test_an_upsert_makes_once_and_then_changes(self, documents: Documents) -> None:
        def write(n: int) -> dict[str, Any]:
            return {"$setOnInsert": {"made": n}, "$inc": {"n": n}, "$push": {"l": n}, "$addToSet": {"s": "x"}}

        first = await documents.update_one({"_id": "u"}, write(2), upsert=True)
        assert first.upserted_id == "u"
        second = await documents.update_one({"_id": "u"}, write(3), upsert=True)
        assert (second.matched_count, second.modified_count, second.upserted_id) == (1, 1, None)
        assert await documents.find_one() == {"_id": "u", "made": 2, "n": 5, "l": [2, 3], "s": ["x"]}

    async def test_an_effect_is_written_once_however_often_its_event_comes(self, documents: Documents) -> None:
        """The guard and the effect are one write: an event already seen matches nothing, and its upsert collides."""
        await documents.insert_one({"_id": "case", "n": 0, "seen": []})
        answers = [
            await documents.update_one(
                {"_id": "case", "seen": {"$ne": "e1"}}, {"$inc": {"n": 1}, "$push": {"seen": "e1"}}
            )
            for _ in range(3)
        ]
        assert [answer.modified_count for answer in answers] == [1, 0, 0]
        with pytest.raises(DuplicateKeyError):
            await documents.update_one({"_id": "case", "seen": {"$ne": "e1"}}, {"$inc": {"n": 1}}, upsert=True)
        assert (await documents.find_one({}, {"n": 1, "_id": 0})) == {"n": 1}

    async def test_a_write_that_changes_nothing_says_so(self, documents: Documents) -> None:
        await documents.insert_one({"_id": 1, "a": 1})
        same = await documents.update_one({"_id": 1}, {"$set": {"a": 1}})
        assert (same.matched_count, same.modified_count) == (1, 0)
        assert (await documents.replace_one({"_id": 1}, {"b": 2})).modified_count == 1
        assert await documents.find_one() == {"_id": 1, "b": 2}
        assert (await documents.update_many({}, {"$set": {"q": 1}})).modified_count == 1
        assert (await documents.delete_one({"_id": 2})).deleted_count == 0
        assert (await documents.delete_many({"q": 1})).deleted_count == 1

    async def test_a_bounded_list_keeps_its_latest(self, documents: Documents) -> None:
        await documents.insert_one({"_id": 1, "l": [1]})
        for n in range(2, 6):
            await documents.update_one({"_id": 1}, {"$push": {"l": {"$each": [n], "$slice": -3}}})
        assert (await documents.find_one())["l"] == [3, 4, 5]  # type: ignore[index]
        await documents.update_one({"_id": 1}, {"$push": {"l": {"$each": [9, 0], "$sort": 1, "$slice": 4}}})
        assert (await documents.find_one())["l"] == [0, 3, 4, 5]  # type: ignore[index]
        await documents.update_one({"_id": 1}, {"$addToSet": {"l": {"$each": [5, 7]}}})
        assert (await documents.find_one())["l"] == [0, 3, 4, 5, 7]  # type: ignore[index]

    async def test_one_element_of_a_list_of_objects(self, documents: Documents) -> None:
        await documents.insert_one({"_id": 1, "parts": [{"k": 1, "q": 5}, {"k": 2, "q": 9}], "old": 1})
        await documents.update_one({"_id": 1, "parts.k": 2}, {"$set": {"parts.$.q": 0}})
        await documents.update_one({"_id": 1}, {"$pull": {"parts": {"k": 1}}, "$unset": {"old": ""}})
        await documents.update_one({"_id": 1}, {"$min": {"first": 4}, "$max": {"last": 7}})
        assert await documents.find_one() == {"_id": 1, "parts": [{"k": 2, "q": 0}], "first": 4, "last": 7}

    async def test_what_is_acknowledged_by_the_majority_and_the_journal(self, documents: Documents) -> None:
        safe = documents.with_options(write_concern=WriteConcern("majority", j=True, wtimeout=5000))
        assert (await safe.insert_one({"_id": 1})).acknowledged
        assert await documents.find_one({"_id": 1}) == {"_id": 1}

    async def test_what_is_written_is_read_back_the_same(self, documents: Documents) -> None:
        kept = {
            "_id": uuid.uuid4(),
            "at": NOW,
            "large": Int64(2**60),
            "bytes": b"\x00\xff",
            "fraction": 1.5,
            "none": None,
            "yes": True,
            "list": [1, "a", {"z": [[], [1]]}],
            "text": "شكاية – ⵜⴰⵎⴰⵣⵉⵖⵜ – réclamation",
        }
        await documents.insert_one(kept)
        assert await documents.find_one({"_id": kept["_id"]}) == kept
        assert await documents.count_documents({"at": {"$gte": NOW, "$lt": NOW + timedelta(milliseconds=1)}}) == 1


class TestBulk:
    async def test_an_ordered_bulk_stops_at_its_first_error(self, documents: Documents) -> None:
        with pytest.raises(BulkWriteError) as refused:
            await documents.bulk_write(
                [
                    InsertOne({"_id": 1}),
                    UpdateOne({"_id": 1}, {"$inc": {"n": 1}}),
                    InsertOne({"_id": 1}),
                    InsertOne({"_id": 2}),
                ]
            )
        details = refused.value.details
        assert [(error["index"], error["code"]) for error in details["writeErrors"]] == [(2, DUPLICATE)]
        assert (details["nInserted"], details["nModified"]) == (1, 1)
        assert await documents.count_documents({"_id": 2}) == 0

    async def test_an_unordered_bulk_does_all_that_it_can_and_names_the_rest(self, documents: Documents) -> None:
        await documents.insert_one({"_id": 1})
        with pytest.raises(BulkWriteError) as refused:
            await documents.bulk_write(
                [
                    InsertOne({"_id": 1}),
                    UpdateOne({"_id": 7}, {"$set": {"a": 1}}, upsert=True),
                    InsertOne({"_id": 2}),
                    InsertOne({"_id": 1}),
                    DeleteOne({"_id": 2}),
                ],
                ordered=False,
            )
        details = refused.value.details
        assert sorted((error["index"], error["code"]) for error in details["writeErrors"]) == [
            (0, DUPLICATE),
            (3, DUPLICATE),
        ]
        assert (details["nInserted"], details["nUpserted"], details["upserted"][0]["index"]) == (1, 1, 1)
        assert {document["_id"] async for document in documents.find()} >= {1, 7}

    async def test_insert_many_names_each_duplicate(self, documents: Documents) -> None:
        with pytest.raises(BulkWriteError) as refused:
            await documents.insert_many([{"_id": n} for n in (1, 1, 2, 1, 3)], ordered=False)
        assert [error["index"] for error in refused.value.details["writeErrors"]] == [1, 3]
        assert await documents.count_documents({}) == 3

    async def test_the_counts_of_a_mixed_bulk(self, documents: Documents) -> None:
        done = await documents.bulk_write(
            [
                InsertOne({"_id": 1, "a": 1}),
                UpdateOne({"_id": 1}, {"$inc": {"a": 1}}),
                UpdateOne({"_id": 2}, {"$set": {"a": 9}}, upsert=True),
                ReplaceOne({"_id": 2}, {"a": 10}),
                InsertOne({"_id": 3}),
                DeleteOne({"_id": 3}),
                UpdateMany({}, {"$set": {"z": 1}}),
            ]
        )
        counts = (done.inserted_count, done.matched_count, done.modified_count, done.deleted_count, done.upserted_count)
        assert counts == (2, 4, 4, 1, 1)
        assert done.upserted_ids == {2: 2}

    async def test_a_thousand_upserts_done_twice_are_done_once(self, documents: Documents) -> None:
        await documents.create_index("k", unique=True)
        writes = [
            UpdateOne({"k": k}, {"$setOnInsert": {"first": True}, "$set": {"v": k}}, upsert=True) for k in range(1000)
        ]
        assert (await documents.bulk_write(writes, ordered=False)).upserted_count == 1000
        again = await documents.bulk_write(writes, ordered=False)
        assert (again.matched_count, again.modified_count, again.upserted_count) == (1000, 0, 0)


class TestRaces:
    async def test_no_change_is_lost_when_each_is_conditional_on_the_version(self, documents: Documents) -> None:
        await documents.insert_one({"_id": 1, "version": 0, "n": 0})

        async def change() -> None:
            for _ in range(5):
                while True:
                    case = await documents.find_one({"_id": 1})
                    assert case is not None
                    written = await documents.update_one(
                        {"_id": 1, "version": case["version"]},
                        {"$set": {"n": case["n"] + 1, "version": case["version"] + 1}},
                    )
                    if written.modified_count:
                        break
                    await asyncio.sleep(random.random() / 100)

        await asyncio.gather(*(change() for _ in range(20)))
        assert await documents.find_one() == {"_id": 1, "version": 100, "n": 100}

    async def test_each_job_is_claimed_by_one_of_twenty_workers(self, documents: Documents) -> None:
        await documents.create_index([("lease_until", 1), ("_id", 1)])
        await documents.insert_many([{"_id": n, "lease_until": NOW - timedelta(seconds=1)} for n in range(100)])
        claimed: list[int] = []

        async def worker() -> None:
            while job := await claim(documents, NOW):
                claimed.append(job["_id"])

        await asyncio.gather(*(worker() for _ in range(20)))
        assert sorted(claimed) == list(range(100))

    async def test_a_lease_that_has_run_out_is_claimed_again_and_its_old_holder_cannot_finish(
        self, documents: Documents
    ) -> None:
        await documents.insert_one({"_id": 1, "lease_until": NOW})
        first = await claim(documents, NOW + timedelta(seconds=1))
        assert first is not None
        assert await claim(documents, NOW + timedelta(seconds=2)) is None
        second = await claim(documents, NOW + timedelta(seconds=62))
        assert second is not None
        late = await documents.delete_one({"_id": 1, "lease_until": first["lease_until"]})
        assert late.deleted_count == 0
        assert (await documents.delete_one({"_id": 1, "lease_until": second["lease_until"]})).deleted_count == 1

    async def test_blocks_of_numbers_leased_at_once_never_overlap(self, documents: Documents) -> None:
        """The counter is made first, by a write that changes nothing the second time, and only then increased."""

        async def lease() -> int:
            await documents.update_one({"_id": 2026}, {"$setOnInsert": {"next": 0}}, upsert=True)
            counter = await documents.find_one_and_update(
                {"_id": 2026}, {"$inc": {"next": 100}}, return_document=ReturnDocument.AFTER
            )
            assert counter is not None
            return int(counter["next"]) - 100

        for _ in range(5):
            await documents.delete_many({})
            blocks = await asyncio.gather(*(lease() for _ in range(50)))
            assert sorted(blocks) == list(range(0, 5000, 100))

    async def test_upserts_of_one_id_at_once_make_one_document(self, documents: Documents) -> None:
        async def add() -> None:
            for _ in range(10):
                await documents.update_one({"_id": "x"}, {"$inc": {"n": 1}}, upsert=True)

        await asyncio.gather(*(add() for _ in range(20)))
        assert await documents.find_one() == {"_id": "x", "n": 200}


async def claim(documents: Documents, now: datetime) -> dict[str, Any] | None:
    return await documents.find_one_and_update(
        {"lease_until": {"$lte": now}},
        {"$set": {"lease_until": now + timedelta(seconds=60)}},
        sort=[("lease_until", 1), ("_id", 1)],
        return_document=ReturnDocument.AFTER,
    )


class TestReads:
    @pytest.fixture
    async def queue(self, documents: Documents) -> Documents:
        """600 dossiers of two administrations, listed by due day; `place` orders them and is unique."""
        await documents.create_index([("administration", 1), ("place", 1)])
        await documents.insert_many(
            [
                {"_id": n, "administration": "oncf" if n % 2 else "cnss", "due": n // 6, "place": f"{n // 6:04}.{n:06}"}
                for n in range(600)
            ]
        )
        return documents

    async def test_pages_by_key_show_each_document_once_in_order(self, queue: Documents) -> None:
        seen: list[int] = []
        last = ""
        while page := (
            await queue.find({"administration": "oncf", "place": {"$gt": last}})
            .sort("place", 1)
            .limit(37)
            .to_list(None)
        ):
            seen += [document["_id"] for document in page]
            last = page[-1]["place"]
        assert seen == list(range(1, 600, 2))

    async def test_pages_by_two_fields_give_the_same(self, queue: Documents) -> None:
        seen: list[int] = []
        query: dict[str, Any] = {"administration": "oncf"}
        while page := await queue.find(query).sort([("due", -1), ("_id", -1)]).limit(37).to_list(None):
            seen += [document["_id"] for document in page]
            due, last = page[-1]["due"], page[-1]["_id"]
            query = {"administration": "oncf", "$or": [{"due": {"$lt": due}}, {"due": due, "_id": {"$lt": last}}]}
        assert seen == list(range(599, 0, -2))

    async def test_a_page_is_read_from_its_index(self, queue: Documents) -> None:
        page = queue.find({"administration": "oncf", "place": {"$gte": "0010", "$lt": "0020"}}).sort("place", 1)
        plan = stages((await page.explain())["queryPlanner"]["winningPlan"])
        assert "IXSCAN" in plan
        assert "COLLSCAN" not in plan
        assert "COLLSCAN" in stages((await queue.find({"due": 5}).explain())["queryPlanner"]["winningPlan"])

    async def test_a_bounded_range_examines_no_more_than_it_returns(
        self, queue: Documents, database: AsyncIOMotorDatabase[dict[str, Any]]
    ) -> None:
        find = {"find": queue.name, "filter": {"administration": "oncf", "place": {"$gte": "0010", "$lt": "0020"}}}
        found = (await database.command("explain", find, verbosity="executionStats"))["executionStats"]
        assert (found["nReturned"], found["totalDocsExamined"]) == (30, 30)

    async def test_a_batch_is_loaded_by_its_ids_in_one_query(self, queue: Documents) -> None:
        wanted = [*range(0, 600, 2), 10_000]
        loaded = await queue.find({"_id": {"$in": wanted}}).to_list(None)
        assert {document["_id"] for document in loaded} == set(range(0, 600, 2))
        plan = stages((await queue.find({"_id": {"$in": wanted}}).explain())["queryPlanner"]["winningPlan"])
        assert "COLLSCAN" not in plan

    async def test_a_long_answer_comes_whole_over_many_batches(self, queue: Documents) -> None:
        read = [document["_id"] async for document in queue.find().sort("_id", 1).batch_size(50)]
        assert read == list(range(600))

    @pytest.mark.parametrize(
        ("query", "matches"),
        [
            ({"tags": "b"}, {1}),
            ({"tags": {"$all": ["a", "c"]}}, {1}),
            ({"parts": {"$elemMatch": {"x": 1, "y": 1}}}, set()),
            ({"parts": {"$elemMatch": {"x": 1, "y": 2}}}, {1}),
            ({"n": None}, {1, 2, 3}),
            ({"n": {"$exists": True}}, {1}),
            ({"_id": {"$nin": [1]}}, {2, 3}),
            ({"$nor": [{"_id": 1}, {"tags": "d"}]}, {3}),
            ({"e.f": 1}, {1}),
            ({"_id": {"$not": {"$gt": 1}}}, {1}),
            ({"$or": [{"_id": 3}, {"tags": "d"}]}, {2, 3}),
        ],
    )
    async def test_queries(self, documents: Documents, query: dict[str, Any], matches: set[int]) -> None:
        await documents.insert_many(
            [
                {
                    "_id": 1,
                    "tags": ["a", "b", "c"],
                    "parts": [{"x": 1, "y": 2}, {"x": 2, "y": 1}],
                    "n": None,
                    "e": {"f": 1},
                },
                {"_id": 2, "tags": ["d"], "parts": []},
                {"_id": 3},
            ]
        )
        assert {document["_id"] async for document in documents.find(query)} == matches

    async def test_parts_of_documents_and_counts(self, queue: Documents) -> None:
        assert await queue.find_one({"_id": 7}, {"_id": 0, "due": 1}) == {"due": 1}
        assert await queue.find_one({"_id": 7}, {"place": 0, "due": 0}) == {"_id": 7, "administration": "oncf"}
        assert await queue.count_documents({"administration": "oncf"}) == 300
        assert await queue.estimated_document_count() == 600
        assert sorted(await queue.distinct("administration")) == ["cnss", "oncf"]

    async def test_counts_by_administration(self, queue: Documents) -> None:
        counted = await queue.aggregate(
            [
                {"$match": {"administration": {"$in": ["oncf", "cnss"]}, "due": {"$lt": 10}}},
                {"$group": {"_id": "$administration", "n": {"$sum": 1}, "first": {"$min": "$due"}}},
                {"$sort": {"_id": 1}},
            ]
        ).to_list(None)
        assert counted == [{"_id": "cnss", "n": 30, "first": 0}, {"_id": "oncf", "n": 30, "first": 0}]


class TestAttachments:
    @pytest.fixture
    async def bucket(
        self, database: AsyncIOMotorDatabase[dict[str, Any]]
    ) -> AsyncIterator[tuple[AsyncIOMotorGridFSBucket, str]]:
        name = f"b_{uuid.uuid4().hex}"
        yield AsyncIOMotorGridFSBucket(database, bucket_name=name), name
        await database[f"{name}.files"].drop()
        await database[f"{name}.chunks"].drop()

    async def test_ten_megabytes_come_back_whole_and_in_part_and_leave_nothing(
        self, bucket: tuple[AsyncIOMotorGridFSBucket, str], database: AsyncIOMotorDatabase[dict[str, Any]]
    ) -> None:
        files, name = bucket
        data = os.urandom(10 * 1024 * 1024)
        file_id = await files.upload_from_stream("photo.jpg", data, metadata={"media_type": "image/jpeg"})
        stream = await files.open_download_stream(file_id)
        assert stream.metadata == {"media_type": "image/jpeg"}
        assert await stream.read() == data
        part = await files.open_download_stream(file_id)
        part.seek(5_000_000)
        assert await part.read(1000) == data[5_000_000:5_001_000]
        await files.delete(file_id)
        assert await database[f"{name}.chunks"].count_documents({}) == 0

    async def test_a_file_with_an_id_of_its_own_is_kept_once(
        self, bucket: tuple[AsyncIOMotorGridFSBucket, str]
    ) -> None:
        files, _ = bucket
        await files.upload_from_stream_with_id("a1", "photo.jpg", b"one")
        with pytest.raises(FileExists):
            await files.upload_from_stream_with_id("a1", "photo.jpg", b"two")
        assert await (await files.open_download_stream("a1")).read() == b"one"


def stages(plan: object) -> list[str]:
    """The names of all stages of a query plan."""
    if isinstance(plan, dict):
        own = [plan["stage"]] if "stage" in plan else []
        return own + [stage for value in plan.values() for stage in stages(value)]
    if isinstance(plan, list):
        return [stage for value in plan for stage in stages(value)]
    return []
