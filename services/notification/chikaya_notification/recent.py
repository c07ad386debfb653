"""The contacts that this process has just seen: so that the events of a busy minute ask the store nothing."""

from datetime import datetime, timedelta

from chikaya_servicekit.clock import Clock

from .domain.notices import Contact

KEPT_FOR = timedelta(minutes=1)
"""Short, since an address that has been erased in the store must not live on here."""
KEPT_AT_MOST = 10_000


class Recent:
    """The contacts of the last minute. Only what the store has been told may be put here."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._contacts: dict[str, tuple[datetime, Contact]] = {}

    def get(self, complaint_id: str) -> Contact | None:
        """A complaint's contact, if it is known here."""
        kept_at, contact = self._contacts.get(complaint_id, (self._clock(), None))
        return contact if self._clock() - kept_at < KEPT_FOR else None

    def put(self, complaint_id: str, contact: Contact) -> None:
        """Keeps a contact, for a minute from when it was first seen, and forgets the oldest."""
        now = self._clock()
        kept_at = self._contacts.pop(complaint_id, (now, contact))[0]
        self._contacts[complaint_id] = (kept_at if now - kept_at < KEPT_FOR else now, contact)
        if len(self._contacts) > KEPT_AT_MOST:
            del self._contacts[next(iter(self._contacts))]
