"""From a well-formed submission to a complaint: id, reference, access code, verifier, deadlines, and the receipt.

Source: decree 2-17-265, which asks for an immediate receipt; the delays are those of `chikaya_contracts.legal_time`.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from datetime import datetime

from chikaya_contracts import access, ids, legal_time, topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.messages.intake import Attachment, ComplaintSubmitted
from chikaya_contracts.submission import Receipt, Submission

from .attachments import DOSSIER_LINK_FOR, Links

SOURCE = "/intake"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a submission, and the name they gave it: an Idempotency-Key over HTTP, a `sender_id` over Kafka.
    Both are one name: a channel that turns from Kafka to HTTP in the middle files nothing twice."""

    channel: str
    key: str


@dataclass(frozen=True, slots=True)
class Filing:
    """A well-formed submission as it arrived. `received_at` is the legal receipt; `key` is None when none was sent."""

    channel: str
    key: str | None
    submission: Submission
    received_at: datetime
    traceparent: str | None = None

    @property
    def sender(self) -> Sender | None:
        """What a repetition of this filing has in common with it."""
        return Sender(self.channel, self.key) if self.key else None


@dataclass(frozen=True, slots=True)
class Secrets:
    """`access_code` derives the codes; `verifier` keys what messages carry in their place; `links` signs links."""

    access_code: bytes
    verifier: bytes
    links: Links


@dataclass(frozen=True, slots=True)
class Complaint:
    """An accepted filing. `fingerprint` is the digest of what was submitted; `accepted_at` is when intake did so."""

    id: str
    channel: str
    key: str | None
    fingerprint: bytes
    accepted_at: datetime
    deadlines: legal_time.Deadlines
    message: ComplaintSubmitted
    traceparent: str | None = None

    @property
    def sender(self) -> Sender | None:
        """See `Filing.sender`."""
        return Sender(self.channel, self.key) if self.key else None

    @property
    def event(self) -> Event[Message]:
        """What is published: the same id whenever it is made."""
        return Event(
            ids.consequence_id(self.id, ComplaintSubmitted.TYPE),
            SOURCE,
            self.accepted_at,
            self.message,
            topics.SUBMITTED.name,
            traceparent=self.traceparent,
        )


def fingerprint(submission: Submission) -> bytes:
    """A digest of what was submitted, however it was written: order, spaces and values left at their default do
    not count, so that a retry after an upgrade of the contract is still the same."""
    content = submission.model_dump(mode="json", exclude_defaults=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).digest()


def is_repetition(filing: Filing, kept: Complaint) -> bool:
    """Whether `filing` is what led to `kept`; else its key is being used for something else."""
    return filing.sender == kept.sender and fingerprint(filing.submission) == kept.fingerprint


def accept(
    filing: Filing,
    *,
    complaint_id: str,
    reference: str,
    attachments: tuple[Attachment, ...],
    accepted_at: datetime,
    secrets: Secrets,
) -> Complaint:
    """The complaint that `filing` becomes."""
    submission = filing.submission
    code = access.code(secrets.access_code, complaint_id)
    expires = math.ceil((accepted_at + DOSSIER_LINK_FOR).timestamp())
    return Complaint(
        id=complaint_id,
        channel=filing.channel,
        key=filing.key,
        fingerprint=fingerprint(submission),
        accepted_at=accepted_at,
        deadlines=legal_time.deadlines(filing.received_at),
        traceparent=filing.traceparent,
        message=ComplaintSubmitted(
            complaint_id=complaint_id,
            reference=reference,
            verifier=access.verifier(secrets.verifier, complaint_id, code),
            channel=filing.channel,
            received_at=filing.received_at,
            nature=submission.nature,
            text=submission.text,
            place=submission.place,
            administration_wished=submission.administration_wished,
            contact=submission.contact,
            language=submission.language,
            attachments=tuple(
                file.model_copy(update={"url": secrets.links.url(file.id, expires)}) for file in attachments
            ),
        ),
    )


def receipt(complaint: Complaint, secrets: Secrets) -> Receipt:
    """What the citizen is given. No store holds the access code: it is derived each time."""
    return Receipt(
        complaint_id=complaint.id,
        reference=complaint.message.reference,
        access_code=access.code(secrets.access_code, complaint.id),
        received_at=complaint.message.received_at,
        deadlines={"relay": complaint.deadlines.relay, "answer": complaint.deadlines.answer},
    )
