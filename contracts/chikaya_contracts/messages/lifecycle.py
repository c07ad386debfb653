"""What has happened to a case: the durable history. No personal data: a text is a reference into tracking's store."""

from typing import ClassVar, Literal

from pydantic import AwareDatetime

from .. import topics
from ..envelope import Message
from ..states import StateName
from ..submission import Nature, NoticeLanguage
from ..topics import Topic
from .requests import Threshold
from .routing import RejectionReason, TriageReason


class CaseEvent(Message):
    """What every lifecycle event carries. `sequence` numbers the case's events from 1, without gaps; `state` and
    `administration` (the holder) are those after it; `cause` is the id of the event that it follows from.

    An event is understood without those before it: `nature`, `relay_due`, `answer_due` and `relays` (how often the
    complaint has been relayed to an administration) are those after it too; None in events older than these fields.
    """

    TOPIC: ClassVar[Topic] = topics.LIFECYCLE
    OWNER: ClassVar[str] = "tracking"

    complaint_id: str
    reference: str
    sequence: int
    at: AwareDatetime
    state: StateName
    administration: str | None = None
    nature: Nature | None = None
    relay_due: AwareDatetime | None = None
    answer_due: AwareDatetime | None = None
    relays: int | None = None
    cause: str

    @classmethod
    def short_name(cls) -> str:
        """As in the table of states: `question-asked`."""
        return cls.TYPE.removeprefix("ma.chikaya.case.").removesuffix(".v1")


class CaseReceived(CaseEvent):
    """The complaint is registered."""

    TYPE: ClassVar[str] = "ma.chikaya.case.received.v1"
    channel: str
    nature: Nature
    language: NoticeLanguage
    relay_due: AwareDatetime
    answer_due: AwareDatetime


class CaseTriaged(CaseEvent):
    """A person looks for the competent administration."""

    TYPE: ClassVar[str] = "ma.chikaya.case.triaged.v1"
    decision: int
    reason: TriageReason


class CaseRouted(CaseEvent):
    """The complaint was relayed to `administration`."""

    TYPE: ClassVar[str] = "ma.chikaya.case.routed.v1"
    decision: int


class CaseRejected(CaseEvent):
    """The complaint is inadmissible."""

    TYPE: ClassVar[str] = "ma.chikaya.case.rejected.v1"
    decision: int
    reason: RejectionReason


class CaseAcknowledged(CaseEvent):
    """The administration has taken note."""

    TYPE: ClassVar[str] = "ma.chikaya.case.acknowledged.v1"


class CaseStarted(CaseEvent):
    """The administration works on it."""

    TYPE: ClassVar[str] = "ma.chikaya.case.started.v1"


class CaseQuestionAsked(CaseEvent):
    """The citizen is asked something: by the administration (`text_id`), or in triage (`question`)."""

    TYPE: ClassVar[str] = "ma.chikaya.case.question-asked.v1"
    asked_by: Literal["administration", "triage"]
    text_id: str | None = None
    question: Literal["place", "request", "service"] | None = None


class CaseQuestionAnswered(CaseEvent):
    """The citizen has answered."""

    TYPE: ClassVar[str] = "ma.chikaya.case.question-answered.v1"
    text_id: str
    answer_due: AwareDatetime


class CaseSupplemented(CaseEvent):
    """The citizen has added something."""

    TYPE: ClassVar[str] = "ma.chikaya.case.supplemented.v1"
    text_id: str


class CaseAnswered(CaseEvent):
    """The administration has answered."""

    TYPE: ClassVar[str] = "ma.chikaya.case.answered.v1"
    text_id: str


class CaseTransferRequested(CaseEvent):
    """The administration holds another to be competent; `proposed` is that other's slug, if it knows."""

    TYPE: ClassVar[str] = "ma.chikaya.case.transfer-requested.v1"
    proposed: str | None = None
    text_id: str


class CaseRated(CaseEvent):
    """The citizen has rated the answer, 1–5."""

    TYPE: ClassVar[str] = "ma.chikaya.case.rated.v1"
    score: int
    text_id: str | None = None


class CaseReopened(CaseEvent):
    """The citizen was not content; the same administration holds it again."""

    TYPE: ClassVar[str] = "ma.chikaya.case.reopened.v1"
    text_id: str
    answer_due: AwareDatetime


class CaseWithdrawn(CaseEvent):
    """The citizen has withdrawn the complaint."""

    TYPE: ClassVar[str] = "ma.chikaya.case.withdrawn.v1"
    text_id: str | None = None


class CaseClosed(CaseEvent):
    """Nobody asked for more within the delay."""

    TYPE: ClassVar[str] = "ma.chikaya.case.closed.v1"


class CaseDeadlineWarned(CaseEvent):
    """A deadline is near."""

    TYPE: ClassVar[str] = "ma.chikaya.case.deadline-warned.v1"
    threshold: Threshold
    due: AwareDatetime


class CaseDeadlineBreached(CaseEvent):
    """A deadline has passed."""

    TYPE: ClassVar[str] = "ma.chikaya.case.deadline-breached.v1"
    threshold: Threshold
    due: AwareDatetime


class CaseRequestRefused(CaseEvent):
    """Somebody asked for what the case's state, or their role, forbids. `request` is the CloudEvents type asked."""

    TYPE: ClassVar[str] = "ma.chikaya.case.request-refused.v1"
    request: str
    by: str
    reason: Literal["state", "not-holder", "already-reopened", "too-late", "already-rated", "withdrawn-meanwhile"]
