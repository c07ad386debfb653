"""What became of each notice to a citizen."""

from typing import ClassVar, Literal

from pydantic import AwareDatetime

from .. import topics
from ..envelope import Message
from ..submission import NoticeLanguage
from ..topics import Topic


class NoticeOutcome(Message):
    """What every outcome carries. `event` is the lifecycle event's id, `notice` the row of notification's table,
    `by` the means."""

    TOPIC: ClassVar[Topic] = topics.OUTCOMES
    OWNER: ClassVar[str] = "notification"

    complaint_id: str
    event: str
    notice: str
    by: Literal["email", "sms"]
    language: NoticeLanguage
    at: AwareDatetime


class NoticeSent(NoticeOutcome):
    """Handed over to the mail server or the SMS gateway, which accepted it."""

    TYPE: ClassVar[str] = "ma.chikaya.notice.sent.v1"
    attempts: int


class NoticeFailed(NoticeOutcome):
    """Refused for good, or tries used up. `reason` holds no address."""

    TYPE: ClassVar[str] = "ma.chikaya.notice.failed.v1"
    attempts: int
    reason: str


class NoticeSkipped(NoticeOutcome):
    """Not sent on purpose."""

    TYPE: ClassVar[str] = "ma.chikaya.notice.skipped.v1"
    reason: Literal["no-address", "erased"]
