"""What this process has just seen of complaints: so that the events of a busy minute ask the store nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from chikaya_servicekit.clock import Clock

from .domain.notices import Contact, Told

KEPT_FOR = timedelta(minutes=1)
"""Short, since an address that has been erased in the store must not live on here."""
KEPT_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a complaint: its contact, None while that has not come; and what its history has said, None
    where that is not known here."""

    contact: Contact | None = None
    told: Told | None = None


class Recent:
    """The complaints of the last minute. Only what the store has been told may be put here."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._cases: dict[str, tuple[datetime, Case]] = {}

    def get(self, complaint_id: str) -> Case:
        """What is known here of a complaint."""
        kept_at, case = self._cases.get(complaint_id, (self._clock(), Case()))
        return case if self._clock() - kept_at < KEPT_FOR else Case()

    def put(self, complaint_id: str, case: Case) -> None:
        """Keeps what is known of a complaint, for a minute from when it was first seen, and forgets the oldest."""
        now = self._clock()
        kept_at = self._cases.pop(complaint_id, (now, case))[0]
        self._cases[complaint_id] = (kept_at if now - kept_at < KEPT_FOR else now, case)
        if len(self._cases) > KEPT_AT_MOST:
            del self._cases[next(iter(self._cases))]
