"""Between an administration and tracking: its decisions (outbox) and what follows later (inbox)."""

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from .. import topics
from ..envelope import Message
from ..submission import Slug
from ..topics import Topic

Text = Annotated[str, Field(min_length=1, max_length=20_000)]


class AdministrationDecision(Message):
    """What every decision carries. `administration` must be the holder of the case; `officer` is the
    administration's own name for who decided, kept in its register and not shown to the citizen."""

    TOPIC: ClassVar[Topic] = topics.OUTBOX
    OWNER: ClassVar[str] = "administration"

    complaint_id: str
    administration: Slug
    officer: str | None = None


class Acknowledge(AdministrationDecision):
    """The dossier has been received and read."""

    TYPE: ClassVar[str] = "ma.chikaya.administration.acknowledged.v1"


class Start(AdministrationDecision):
    """Work on it has begun."""

    TYPE: ClassVar[str] = "ma.chikaya.administration.started.v1"


class AskCitizen(AdministrationDecision):
    """A question to the citizen; the legal clock stands until the answer."""

    TYPE: ClassVar[str] = "ma.chikaya.administration.question-asked.v1"
    text: Text


class Answer(AdministrationDecision):
    """The reasoned answer."""

    TYPE: ClassVar[str] = "ma.chikaya.administration.answered.v1"
    text: Text


class RequestTransfer(AdministrationDecision):
    """Another administration is competent, with the reason, and which if known."""

    TYPE: ClassVar[str] = "ma.chikaya.administration.transfer-requested.v1"
    text: Text
    proposed: Slug | None = None


class DossierFollowUp(Message):
    """What has happened to a dossier since it was forwarded: to its present or former holder.

    `request` and `reason` say which decision of the administration was refused and why (`kind` = refused).
    """

    TYPE: ClassVar[str] = "ma.chikaya.dossier.follow-up.v1"
    TOPIC: ClassVar[Topic] = topics.INBOX
    OWNER: ClassVar[str] = "tracking"

    complaint_id: str
    reference: str
    administration: str
    kind: Literal[
        "question-answered", "supplemented", "withdrawn", "rated", "reopened", "closed", "transferred", "refused",
        "deadline-warned", "deadline-breached",
    ]  # fmt: skip
    at: AwareDatetime
    sequence: int
    text: str | None = None
    score: int | None = None
    answer_due: AwareDatetime | None = None
    request: str | None = None
    reason: str | None = None
