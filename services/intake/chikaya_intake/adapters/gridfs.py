"""Attachments in GridFS, as their content arrives: none of it is held in memory or on this machine's disk."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from chikaya_contracts.messages.intake import Attachment
from motor.motor_asyncio import AsyncIOMotorGridFSBucket
from pymongo import ASCENDING, IndexModel, UpdateOne

from .mongo import Database


class GridAttachments:
    """`stores.Attachments`. What is not GridFS's own is in a file's metadata; `loose_since` goes when it is settled.

    An upload is noted in `uploads` while it runs, so that what a crash cuts off can be found and removed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._files = database["attachments.files"]
        self._chunks = database["attachments.chunks"]
        self._uploads = database["uploads"]

    @cached_property
    def _bucket(self) -> AsyncIOMotorGridFSBucket:
        # Motor binds it to the running event loop, and there is none yet when the process is wired.
        return AsyncIOMotorGridFSBucket(self._database, "attachments")

    async def create_indexes(self) -> None:
        """For the loop that removes loose files and cut-off uploads. GridFS makes its own with the first upload."""
        await self._files.create_indexes(
            [IndexModel([("metadata.loose_since", ASCENDING)], name="loose", sparse=True)],
        )
        await self._uploads.create_indexes([IndexModel([("begun", ASCENDING)], name="begun")])

    async def save(
        self, id: str, channel: str, filename: str, media_type: str, content: AsyncIterator[bytes], at: datetime
    ) -> Attachment:
        await self._uploads.insert_one({"_id": id, "begun": at})
        upload = self._bucket.open_upload_stream_with_id(id, filename)
        digest, size = hashlib.sha256(), 0
        try:
            async for piece in content:
                digest.update(piece)
                size += len(piece)
                await upload.write(piece)
        except BaseException:
            await upload.abort()
            await self._uploads.delete_one({"_id": id})
            raise
        metadata = {"channel": channel, "media_type": media_type, "sha256": digest.hexdigest(), "loose_since": at}
        await upload.set("metadata", metadata)
        await upload.close()
        await self._uploads.delete_one({"_id": id})
        return Attachment(id=id, filename=filename, media_type=media_type, size=size, sha256=digest.hexdigest())

    async def claim(self, channel: str, ids: Sequence[str], claimant: str, since: datetime) -> list[Attachment]:
        free = {
            "metadata.channel": channel,
            "metadata.loose_since": {"$gt": since},
            "metadata.claimant": {"$in": [None, claimant]},
        }
        # One by one: of `$in` together with other fields, the local server makes a scan of everything.
        available = await self._those(ids, free)
        if len(available) < len(set(ids)):
            return available
        change = {"$set": {"metadata.claimant": claimant}}
        claimed = await self._files.bulk_write([UpdateOne({"_id": file.id, **free}, change) for file in available])
        if claimed.matched_count == len(available):
            return available
        # Another filing claimed one of them in between: this one gives back the rest.
        mine = {"metadata.claimant": claimant}
        kept = await self._those(ids, mine)
        for file in kept:
            await self._files.update_one({"_id": file.id, **mine}, {"$unset": {"metadata.claimant": ""}})
        return kept

    async def _those(self, ids: Sequence[str], condition: dict[str, Any]) -> list[Attachment]:
        rows = [await self._files.find_one({"_id": id_, **condition}) for id_ in dict.fromkeys(ids)]
        return [_attachment(row) for row in rows if row]

    async def settle(self, complaint_id: str, ids: Sequence[str]) -> None:
        await self._files.update_many(
            {"_id": {"$in": list(ids)}},
            {"$set": {"metadata.complaint_id": complaint_id}, "$unset": {"metadata.loose_since": ""}},
        )

    async def find(self, id: str) -> tuple[Attachment, str] | None:
        row = await self._files.find_one({"_id": id})
        return (_attachment(row), row["metadata"]["channel"]) if row else None

    async def read(self, id: str) -> AsyncIterator[bytes]:
        stream = await self._bucket.open_download_stream(id)
        while piece := await stream.readchunk():
            yield piece

    async def loose(self, since: datetime) -> list[str]:
        return [row["_id"] async for row in self._files.find({"metadata.loose_since": {"$lte": since}}, {"_id": 1})]

    async def remove(self, id: str) -> None:
        row = await self._files.find_one({"_id": id}, {"uploadDate": 1})
        if row:
            await self._uploads.update_one({"_id": id}, {"$set": {"begun": row["uploadDate"]}}, upsert=True)
            await self._files.delete_one({"_id": id})
            await self._chunks.delete_many({"files_id": id})
            await self._uploads.delete_one({"_id": id})

    async def remove_unfinished(self, before: datetime) -> None:
        async for row in self._uploads.find({"begun": {"$lte": before}}):
            # A crash may have come just after the file was complete: then only the note is left over.
            if not await self._files.find_one({"_id": row["_id"]}, {"_id": 1}):
                await self._chunks.delete_many({"files_id": row["_id"]})
            await self._uploads.delete_one({"_id": row["_id"]})


def _attachment(row: dict[str, Any]) -> Attachment:
    metadata = row["metadata"]
    return Attachment(
        id=row["_id"],
        filename=row["filename"],
        media_type=metadata["media_type"],
        size=row["length"],
        sha256=metadata["sha256"],
    )
