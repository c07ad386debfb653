"""Submissions that external channels send over Kafka: the same acceptance as over HTTP, in bulk, with receipts."""

import re
from collections.abc import Sequence

from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.messages.channel import ChannelSubmission, FieldError, SubmissionAccepted, SubmissionRefused
from chikaya_contracts.submission import Submission
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.events import follows
from chikaya_servicekit.publishing import Publisher
from chikaya_servicekit.telemetry import traceparent
from chikaya_servicekit.validation import field_error, field_errors
from pydantic import ValidationError

from .domain.acceptance import SOURCE, Complaint, Filing
from .reception import KeyReused, Outcome, Reception

LONGEST_KEY = 200
_CHANNEL = re.compile(topics.CHANNEL_SUBMISSIONS.pattern)


class ChannelSubmissions:
    """Accepts what channels submit and writes each a receipt on its own topic."""

    def __init__(self, reception: Reception, publisher: Publisher, clock: Clock) -> None:
        self._reception, self._publisher, self._clock = reception, publisher, clock

    async def accept(self, events: Sequence[Event[Message]]) -> None:
        """Keeps a batch, then says so; the outbox relays it. Delivered again, it gives the same receipts with the same
        ids."""
        sent = [(event, event.data) for event in events if isinstance(event.data, ChannelSubmission)]
        checked = [_checked(event, submission) for event, submission in sent]
        filings = [found for found in checked if isinstance(found, Filing)]
        outcomes = iter(await self._reception.accept_many(filings))
        decided = [next(outcomes) if isinstance(found, Filing) else found for found in checked]
        await self._publisher.publish(
            [
                self._receipt(event, submission.sender_id, outcome)
                for (event, submission), outcome in zip(sent, decided, strict=True)
            ]
        )

    def _receipt(
        self, event: Event[Message], sender_id: str, outcome: Outcome | tuple[FieldError, ...]
    ) -> Event[Message]:
        data: Message
        if isinstance(outcome, Complaint):
            data = SubmissionAccepted(
                sender_id=sender_id,
                complaint_id=outcome.id,
                reference=outcome.message.reference,
                received_at=outcome.message.received_at,
                relay_due=outcome.deadlines.relay,
                answer_due=outcome.deadlines.answer,
            )
        else:
            data = SubmissionRefused(sender_id=sender_id, errors=_reasons(outcome))
        return follows(event, data, SOURCE, self._clock(), topic=topics.CHANNEL_RECEIPTS.named(_channel(event)).name)


def _channel(event: Event[Message]) -> str:
    """What the topic's name says: whatever the record says of itself does not count."""
    found = _CHANNEL.match(event.topic)
    if not found:
        raise ValueError(f"{event.topic} is no channel's topic")
    return found[1]


def _checked(event: Event[Message], sent: ChannelSubmission) -> Filing | tuple[FieldError, ...]:
    """The filing in a record, or every reason why it is none."""
    wrong = [] if 0 < len(sent.sender_id) <= LONGEST_KEY else [field_error("key_length", "sender_id", most=LONGEST_KEY)]
    try:
        submission = Submission.model_validate(sent.submission)
    except ValidationError as error:
        return (*wrong, *field_errors(error.errors()))
    if wrong:
        return tuple(wrong)
    # The broker's append time (the topic's `timestamp`): the legal receipt.
    return Filing(_channel(event), sent.sender_id, submission, event.time, event.traceparent or traceparent())


def _reasons(outcome: Outcome | tuple[FieldError, ...]) -> tuple[FieldError, ...]:
    if isinstance(outcome, tuple):
        return outcome
    if isinstance(outcome, KeyReused):
        return (field_error("key_reused", "sender_id"),)
    return (field_error("attachment_unknown", "attachments"),)
