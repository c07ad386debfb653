"""Which channel calls: what its key says. Keys are kept as hashes and known for a few seconds."""

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable

from .stores import Channel, Channels

KNOWN_FOR_S = 10.0
ASKED_AGAIN_AFTER_S = 1.0
SHORTEST_KEY = 32
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""A channel's name: it is part of its topics' names and of its Kafka user's."""


def new_key() -> str:
    """A key of 256 random bits."""
    return secrets.token_urlsafe(32)


def key_hash(key: str) -> bytes:
    """What is kept of a key. Plain SHA-256 is enough for 256 random bits: there is nothing to guess."""
    return hashlib.sha256(key.encode()).digest()


class Keyring:
    """Names the channel that a key belongs to.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, channels: Channels, now: Callable[[], float]) -> None:
        self._channels, self._now = channels, now
        self._known: list[Channel] = []
        self._asked_at = -KNOWN_FOR_S
        self._one_asks = asyncio.Lock()

    async def channel_of(self, key: str) -> str | None:
        """The channel's name; None for a key that is nobody's. A new key works at once, a revoked one for 10 s yet."""
        await self._ask_again_after(KNOWN_FOR_S)
        hashed = key_hash(key)
        if (name := self._named(hashed)) is None:
            await self._ask_again_after(ASKED_AGAIN_AFTER_S)
            name = self._named(hashed)
        return name

    def _named(self, hashed: bytes) -> str | None:
        name = None
        for channel in self._known:
            if hmac.compare_digest(channel.key_hash, hashed):
                name = channel.name
        return name

    async def _ask_again_after(self, seconds: float) -> None:
        if self._now() - self._asked_at < seconds:
            return
        async with self._one_asks:
            if self._now() - self._asked_at >= seconds:
                self._known = await self._channels.all()
                self._asked_at = self._now()
