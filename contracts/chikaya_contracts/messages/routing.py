"""Routing's decisions, numbered for each complaint from 1, and the dossier it forwards. Decisions carry no words
of the text, since they are kept for ever."""

from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from .. import topics
from ..envelope import Message
from ..submission import Contact, Language, Nature, NoticeLanguage, Place
from ..topics import Topic
from .intake import Attachment

DecidedBy = Literal["rule", "model", "person", "transfer"]
TriageReason = Literal["unsure", "place-missing", "ambiguous", "not-understood", "transfer", "administration-closed"]
RejectionReason = Literal["court", "private", "defence", "police-report", "foreign", "not-a-complaint", "duplicate"]
"""Matters that decree 2-17-265 holds inadmissible, and what is no complaint at all."""


class Alternative(BaseModel):
    """An administration (or other outcome) that was weighed, with its probability (0–1)."""

    model_config = ConfigDict(frozen=True)

    outcome: str
    probability: float


class Decision(Message):
    """What every routing decision says of itself."""

    TOPIC: ClassVar[Topic] = topics.ROUTED
    OWNER: ClassVar[str] = "routing"

    complaint_id: str
    decision: int
    decided_at: AwareDatetime
    by: DecidedBy
    probability: float | None = None
    alternatives: tuple[Alternative, ...] = ()
    language: Language | None = None
    model_version: str | None = None


class ComplaintRouted(Decision):
    """The administration is competent; the dossier lies in its inbox already. `inbox` is the name of that topic."""

    TYPE: ClassVar[str] = "ma.chikaya.complaint.routed.v1"

    administration: str
    inbox: str


class ComplaintTriaged(Decision):
    """A person must decide."""

    TYPE: ClassVar[str] = "ma.chikaya.complaint.triaged.v1"

    reason: TriageReason


class ComplaintInadmissible(Decision):
    """The complaint is rejected; `reason` says why, and the citizen's page where to go instead."""

    TYPE: ClassVar[str] = "ma.chikaya.complaint.inadmissible.v1"

    reason: RejectionReason


class ClarificationAsked(Decision):
    """A triage officer asks the citizen before deciding. `question` is one of a fixed list, since the durable topic
    holds no free text: the place of the matter, what is asked for, or which service is meant."""

    TYPE: ClassVar[str] = "ma.chikaya.complaint.clarification-asked.v1"

    question: Literal["place", "request", "service"]


class DossierForwarded(Message):
    """The dossier that the competent administration receives. Attachments link to intake and expire."""

    TYPE: ClassVar[str] = "ma.chikaya.dossier.forwarded.v1"
    TOPIC: ClassVar[Topic] = topics.INBOX
    OWNER: ClassVar[str] = "routing"

    complaint_id: str
    reference: str
    decision: int
    administration: str
    channel: str
    received_at: AwareDatetime
    relay_due: AwareDatetime
    answer_due: AwareDatetime
    nature: Nature
    text: str
    text_language: Language | None = None
    place: Place | None = None
    contact: Contact
    notice_language: NoticeLanguage
    attachments: tuple[Attachment, ...] = ()
    by: DecidedBy
    note: str | None = None
