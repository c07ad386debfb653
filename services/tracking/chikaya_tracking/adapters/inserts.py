"""Inserting in groups: a command costs the database as much as ten rows, so who comes while one is under way waits for
the next, and they share it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from motor.motor_asyncio import AsyncIOMotorCollection
from pymongo.errors import BulkWriteError, ConnectionFailure, ExecutionTimeout, WTimeoutError

Document = dict[str, Any]
TRANSIENT: tuple[type[Exception], ...] = (ConnectionFailure, ExecutionTimeout, WTimeoutError)
"""What the driver raises while the database is away."""

DUPLICATE_KEY = 11000


class Inserts:
    """Inserts into one collection, from any number of tasks."""

    def __init__(self, collection: AsyncIOMotorCollection[Document]) -> None:
        self._collection = collection
        self._waiting: list[tuple[Sequence[Document], asyncio.Future[set[int]]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def insert(self, rows: Sequence[Document]) -> set[int]:
        """Inserts rows; gives the places of those whose `_id` was there already: these stay as they were.

        Raises:
            BulkWriteError: a row of these cannot be written; others may have been.
        """
        if not rows:
            return set()
        result: asyncio.Future[set[int]] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, result))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return await result

    async def _send(self) -> None:
        try:
            while group := self._waiting:
                self._waiting = []
                await self._send_group(group)
        finally:
            self._sending = None

    async def _send_group(self, group: list[tuple[Sequence[Document], asyncio.Future[set[int]]]]) -> None:
        try:
            taken = await self._command([row for rows, _ in group for row in rows])
        except Exception as error:
            if len(group) > 1 and not isinstance(error, TRANSIENT):
                for one in group:  # only whose row is to blame shall hear of it
                    await self._send_group([one])
                return
            for _, result in group:
                if not result.done():
                    result.set_exception(error)
            return
        start = 0
        for rows, result in group:
            if not result.done():
                result.set_result({index - start for index in taken if start <= index < start + len(rows)})
            start += len(rows)

    async def _command(self, rows: Sequence[Document]) -> set[int]:
        try:
            await self._collection.insert_many(rows, ordered=False)
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if any(one["code"] != DUPLICATE_KEY for one in failed):
                raise
            return {one["index"] for one in failed}
        return set()
