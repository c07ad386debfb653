"""Taking attachments in, and removing those that no complaint claimed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import structlog
from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.intake import Attachment
from chikaya_servicekit.clock import Clock

from .domain import attachments as rules
from .stores import Attachments, Complaints

log = structlog.get_logger()

LOOK_EVERY_S = 600.0
REMOVED_AFTER = rules.UNCLAIMED_FOR + timedelta(hours=1)
"""Later than a file can be claimed by any clock, so that none is removed under the complaint that just claimed it."""


class Files:
    """Attachments, from their upload to their complaint or their end."""

    def __init__(
        self,
        attachments: Attachments,
        complaints: Complaints,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._attachments, self._complaints, self._clock, self._sleep = attachments, complaints, clock, sleep

    async def take(self, channel: str, claimed_name: str, content: AsyncIterator[bytes]) -> Attachment:
        """Keeps a file as it arrives.

        Raises:
            UnsupportedType, TooLarge: nothing is kept.
        """
        head = b""
        async for piece in content:
            head += piece
            if len(head) >= rules.HEAD_BYTES:
                break
        media_type = rules.media_type(head)
        name = rules.safe_name(claimed_name, media_type)
        whole = _at_most(head, content, rules.MAX_BYTES)
        return await self._attachments.save(new_id(), channel, name, media_type, whole, self._clock())

    async def run(self) -> None:
        """Removes what nobody claimed, for ever."""
        while True:
            await self.remove_loose()
            await self._sleep(LOOK_EVERY_S)

    async def remove_loose(self) -> None:
        """Removes files that were not claimed in time; settles those whose complaint a crash kept from doing it."""
        before = self._clock() - REMOVED_AFTER
        loose = await self._attachments.loose(before)
        claimed = await self._complaints.accompanied(loose) if loose else {}
        for id_ in loose:
            if complaint_id := claimed.get(id_):
                await self._attachments.settle(complaint_id, [id_])
            else:
                await self._attachments.remove(id_)
        await self._attachments.remove_unfinished(before)
        if loose:
            log.info("loose attachments", removed=len(loose) - len(claimed), settled=len(claimed))


async def _at_most(head: bytes, rest: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    size, piece = 0, head
    while piece:
        size += len(piece)
        if size > limit:
            raise rules.TooLarge
        yield piece
        piece = await anext(rest, b"")
