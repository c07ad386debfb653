"""Between an external channel and intake, over Kafka. The key is the sender's own id of the submission."""

from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

from .. import topics
from ..envelope import Message
from ..topics import Topic


class ChannelSubmission(Message):
    """A raw submission. `submission` is checked by intake as the body of `POST /v1/complaints` is, so that a
    mistake in it gives a receipt with reasons and no dead letter. `sender_id` makes a retry harmless."""

    TYPE: ClassVar[str] = "ma.chikaya.channel.submission.v1"
    TOPIC: ClassVar[Topic] = topics.CHANNEL_SUBMISSIONS
    OWNER: ClassVar[str] = "channel"

    sender_id: str
    submission: dict[str, object]

    @property
    def key(self) -> str:
        return self.sender_id


class FieldError(BaseModel):
    """What is wrong with one field, for people who read French or Arabic."""

    model_config = ConfigDict(frozen=True)

    field: str
    code: str
    message_fr: str
    message_ar: str


class SubmissionAccepted(Message):
    """The receipt of an accepted submission. The access code is not here: the channel asks intake for it over
    HTTP (`GET /v1/receipts/{sender_id}`), with its key."""

    TYPE: ClassVar[str] = "ma.chikaya.channel.submission-accepted.v1"
    TOPIC: ClassVar[Topic] = topics.CHANNEL_RECEIPTS
    OWNER: ClassVar[str] = "intake"

    sender_id: str
    complaint_id: str
    reference: str
    received_at: AwareDatetime
    relay_due: AwareDatetime
    answer_due: AwareDatetime

    @property
    def key(self) -> str:
        return self.sender_id


class SubmissionRefused(Message):
    """The receipt of a submission that cannot be accepted, with every reason."""

    TYPE: ClassVar[str] = "ma.chikaya.channel.submission-refused.v1"
    TOPIC: ClassVar[Topic] = topics.CHANNEL_RECEIPTS
    OWNER: ClassVar[str] = "intake"

    sender_id: str
    errors: tuple[FieldError, ...]

    @property
    def key(self) -> str:
        return self.sender_id
