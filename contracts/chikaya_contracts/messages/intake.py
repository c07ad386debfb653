"""What intake has accepted."""

from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

from .. import topics
from ..envelope import Message
from ..submission import Contact, Nature, NoticeLanguage, Place
from ..topics import Topic


class Attachment(BaseModel):
    """A file beside the complaint; the content stays in intake. `size` in bytes; `url` is a signed link that expires,
    and opens for whoever holds it, so that an administration needs no account at intake."""

    model_config = ConfigDict(frozen=True)

    id: str
    filename: str
    media_type: str
    size: int
    sha256: str
    url: str | None = None


class ComplaintSubmitted(Message):
    """A valid submission. `channel` is what the API key or the topic's name says; `verifier` stands for the access
    code (see `access`); `language` is what the citizen is written to in; `received_at` is the legal receipt."""

    TYPE: ClassVar[str] = "ma.chikaya.complaint.submitted.v1"
    TOPIC: ClassVar[Topic] = topics.SUBMITTED
    OWNER: ClassVar[str] = "intake"

    complaint_id: str
    reference: str
    verifier: str
    channel: str
    received_at: AwareDatetime
    nature: Nature
    text: str
    place: Place | None = None
    administration_wished: str | None = None
    contact: Contact
    language: NoticeLanguage
    attachments: tuple[Attachment, ...] = ()
