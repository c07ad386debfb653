"""Administrations' names, asked of the store once in a while."""

from collections.abc import Collection
from datetime import datetime, timedelta

from chikaya_servicekit.clock import Clock

from .domain.wording import Name
from .stores import Administrations

KNOWN_FOR = timedelta(minutes=1)
"""How long a name may be the former one after the catalogue has changed it."""


class Names:
    """The names of administrations. One that has none yet is asked for each time."""

    def __init__(self, administrations: Administrations, clock: Clock) -> None:
        self._administrations, self._clock = administrations, clock
        self._known: dict[str, Name] = {}
        self._until = datetime.min.replace(tzinfo=clock().tzinfo)

    async def of(self, slugs: Collection[str]) -> dict[str, Name]:
        """The names of these; nothing for those that the catalogue has not named yet."""
        now = self._clock()
        if now >= self._until:
            self._known, self._until = {}, now + KNOWN_FOR
        if unknown := [slug for slug in slugs if slug not in self._known]:
            self._known |= await self._administrations.named(unknown)
        return {slug: self._known[slug] for slug in slugs if slug in self._known}
