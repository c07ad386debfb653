"""What a citizen, an agent or the clock asks of a case. Written by tracking's API and clock, decided when consumed."""

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from .. import topics
from ..envelope import Message
from ..topics import Topic

RequestText = Annotated[str, Field(min_length=1, max_length=10_000)]
Threshold = Literal["relay-breached", "answer-warned", "answer-breached", "close"]


class CaseRequest(Message):
    """What every request carries. `by` is who asks."""

    TOPIC: ClassVar[Topic] = topics.REQUESTS
    OWNER: ClassVar[str] = "tracking"

    complaint_id: str
    at: AwareDatetime
    by: Literal["citizen", "agent", "clock"]


class AnswerQuestion(CaseRequest):
    """The citizen answers what was asked."""

    TYPE: ClassVar[str] = "ma.chikaya.request.answer-question.v1"
    text: RequestText


class Supplement(CaseRequest):
    """The citizen adds to an open complaint."""

    TYPE: ClassVar[str] = "ma.chikaya.request.supplement.v1"
    text: RequestText


class Withdraw(CaseRequest):
    """The citizen withdraws the complaint."""

    TYPE: ClassVar[str] = "ma.chikaya.request.withdraw.v1"
    text: RequestText | None = None


class Rate(CaseRequest):
    """The citizen rates the answer, from 1 (bad) to 5 (good), which closes the case."""

    TYPE: ClassVar[str] = "ma.chikaya.request.rate.v1"
    score: Annotated[int, Field(ge=1, le=5)]
    text: RequestText | None = None


class Reopen(CaseRequest):
    """The citizen is not content with the answer; once, within 30 days of it."""

    TYPE: ClassVar[str] = "ma.chikaya.request.reopen.v1"
    text: RequestText


class ClockReached(CaseRequest):
    """A deadline, its warning, or the delay for closing has come. Keyed by (case, threshold, due)."""

    TYPE: ClassVar[str] = "ma.chikaya.request.clock-reached.v1"
    threshold: Threshold
    due: AwareDatetime


class ComplaintSupplemented(Message):
    """What the citizen added while the complaint was not yet routed: for the triage officer and the dossier."""

    TYPE: ClassVar[str] = "ma.chikaya.complaint.supplemented.v1"
    TOPIC: ClassVar[Topic] = topics.SUPPLEMENTS
    OWNER: ClassVar[str] = "tracking"

    complaint_id: str
    at: AwareDatetime
    text: str
