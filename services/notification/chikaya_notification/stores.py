"""What notification needs of its database. `adapters/mongo.py` has it on Mongo; the tests run one suite on that and
on a fake."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from .domain.matrix import Means
from .domain.notices import Contact, Notice, Told
from .domain.wording import Name

NOTHING_TOLD = Told()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one complaint. The contact and the history come from different topics, in any order."""

    contact: Contact | None = None
    told: Told = NOTHING_TOLD


class Notices(Protocol):
    """Contacts, what they have been told, and every notice with what has become of it."""

    async def known(self, complaint_ids: Collection[str]) -> dict[str, Known]:
        """What is known of these complaints; nothing for those of which nothing is."""

    async def keep_contacts(self, contacts: Mapping[str, Contact]) -> None:
        """Keeps contacts by complaint id."""

    async def remember(self, told: Mapping[str, Told]) -> None:
        """Keeps what histories have said, by complaint id."""

    async def add(self, notices: Sequence[Notice]) -> None:
        """Keeps notices; those that are kept already stay as they are."""

    async def waiting(self, complaint_ids: Collection[str]) -> list[Notice]:
        """These complaints' notices that wait for their contact."""

    async def address(self, notices: Sequence[Notice]) -> None:
        """The contact of these has come; those that wait no longer stay as they are."""

    async def due(self, by: Means, now: datetime, at_most: int) -> list[str]:
        """Ids of notices to be sent now, oldest first. To look is dear while many are due: look for many at a time."""

    async def claim(self, ids: Sequence[str], now: datetime, lease: timedelta) -> list[Notice]:
        """Those of these notices that are due still, now this caller's: nobody else is given them before `now + lease`,
        their new `due`."""

    async def end_try(self, notice: Notice) -> bool:
        """Keeps what a try has led to; false, and nothing kept, when the notice has had its end already."""

    async def release(self, notices: Sequence[Notice], due: datetime) -> None:
        """Gives claimed notices back, untried; those whose claim has ended meanwhile stay as they are."""

    async def unpublished(self, ended_before: datetime, at_most: int) -> list[Notice]:
        """Notices that have ended and whose outcome has not been published."""

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
