"""What notification needs of its database. `adapters/mongo.py` has it on Mongo; the tests run one suite on that and
on a fake."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from .domain.matrix import Means
from .domain.notices import Contact, Notice
from .domain.wording import Name


class Notices(Protocol):
    """Contacts, and every notice with what has become of it."""

    async def keep_contacts(self, contacts: Mapping[str, Contact]) -> None:
        """Keeps contacts by complaint id; those that are kept already stay as they are."""

    async def contacts(self, complaint_ids: Collection[str]) -> dict[str, Contact]:
        """The contacts of these complaints; nothing for those of which none has come."""

    async def add(self, notices: Sequence[Notice]) -> set[str]:
        """Keeps notices; those that are kept already stay as they are. Gives the ids of the new ones. The outcomes of
        those that have ended have been published."""

    async def waiting(self, complaint_ids: Collection[str]) -> list[Notice]:
        """These complaints' notices that wait for their contact. Cheap while nothing waits at all."""

    async def address(self, notices: Sequence[Notice]) -> None:
        """The contact of these has come; those that wait no longer stay as they are. The outcomes of those that have
        ended have been published."""

    async def due(self, by: Means, now: datetime, at_most: int) -> list[str]:
        """Ids of notices to be sent now, oldest first. To look is dear while many are due: look for many at a time."""

    async def claim(self, by: Means, ids: Sequence[str], now: datetime, lease: timedelta) -> list[Notice]:
        """Those of these notices that are due still, now this caller's: nobody else is given them before `now + lease`,
        their new `due`."""

    async def release(self, notices: Sequence[Notice], due: datetime) -> None:
        """Gives claimed notices back, untried; those whose claim has ended meanwhile stay as they are."""

    async def end_tries(self, notices: Sequence[Notice], published: bool) -> None:
        """Keeps what tries have led to; a notice that has had its end already stays as it is.

        Args:
            published: whether the outcomes of those that have ended have been published.
        """

    async def unpublished(self, at_most: int) -> list[Notice]:
        """Notices that have ended and whose outcome has not been published, oldest first."""

    async def published(self, ids: Sequence[str]) -> None:
        """The outcomes of these have been published."""

    async def of(self, complaint_id: str) -> list[Notice]:
        """A complaint's notices, oldest first."""


class Administrations(Protocol):
    """The administrations' names."""

    async def keep(self, names: Mapping[str, Name]) -> None:
        """Keeps names by slug."""

    async def named(self, slugs: Collection[str]) -> dict[str, Name]:
        """The names of these; nothing for those that the catalogue has not named yet."""
