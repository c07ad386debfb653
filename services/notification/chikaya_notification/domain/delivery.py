"""What becomes of a notice after a try to send it.

A refusal for good ends it. What may pass for this address is tried again, a bounded number of times. What concerns
the server, and not the address, is no try at all: the notice keeps its place until the server is back.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from chikaya_contracts.messages.notification import NoticeFailed, NoticeOutcome, NoticeSent, NoticeSkipped

from .notices import Notice

RETRIES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 120, 240, 480))
"""How long after each failed try the next one comes: 8 tries in about 15 hours."""


class Refused(Exception):
    """The server will not take this message for this address, now or later. The reason holds no address."""


class Deferred(Exception):
    """The server would not take this message now, but may later. The reason holds no address."""


class Away(Exception):
    """The server is not there, or serves nobody as we speak to it: no fault of this message."""


def sent(notice: Notice, at: datetime) -> Notice:
    """The server has taken it."""
    return replace(notice, state="sent", attempts=notice.attempts + 1, ended_at=at)


def refused(notice: Notice, reason: str, at: datetime) -> Notice:
    """The server never will."""
    return replace(notice, state="failed", attempts=notice.attempts + 1, ended_at=at, reason=reason)


def deferred(notice: Notice, reason: str, at: datetime) -> Notice:
    """Due again later; failed when all tries are used up."""
    if notice.attempts >= len(RETRIES):
        return refused(notice, f"{notice.attempts + 1} tries; the last: {reason}", at)
    return replace(notice, attempts=notice.attempts + 1, due=at + RETRIES[notice.attempts], reason=reason)


def erased(notice: Notice, at: datetime) -> Notice:
    """There is nobody to write to any more."""
    return replace(notice, state="skipped", ended_at=at, reason="erased")


def outcome(notice: Notice) -> NoticeOutcome:
    """What is published of a notice that has come to its end.

    Raises:
        ValueError: it has not.
    """
    if notice.language is None or notice.ended_at is None:
        raise ValueError(f"notice {notice.id} is {notice.state}: it has no outcome yet")
    common = {
        "complaint_id": notice.complaint_id,
        "event": notice.event,
        "notice": notice.notice,
        "by": notice.by,
        "language": notice.language,
        "at": notice.ended_at,
    }
    match notice.state:
        case "sent":
            return NoticeSent.model_validate({**common, "attempts": notice.attempts})
        case "failed":
            return NoticeFailed.model_validate({**common, "attempts": notice.attempts, "reason": notice.reason})
        case "skipped":
            return NoticeSkipped.model_validate({**common, "reason": notice.reason})
    raise ValueError(f"notice {notice.id} is {notice.state}: it has no outcome yet")
