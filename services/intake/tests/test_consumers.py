"""Submissions over Kafka: accepted in bulk, each with a receipt, the same whenever they come again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event
from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.channel import ChannelSubmission, SubmissionAccepted, SubmissionRefused
from chikaya_intake.consumers import ChannelSubmissions
from chikaya_servicekit.faults import DependencyDown

RIGHT: dict[str, object] = {
    "text": "Pas d'eau depuis trois jours au douar.",
    "contact": {"name": "Ali", "phone": "0600000091"},
    "consent": True,
}


@pytest.fixture
def consumer(parts: Any) -> ChannelSubmissions:
    """The consumer on fakes."""
    return ChannelSubmissions(parts.reception, parts.publisher, parts.clock)


def sent(sender_id: str, memory: Any, channel: str = "kiosk", **changes: object) -> Event[ChannelSubmission]:
    data = ChannelSubmission(sender_id=sender_id, submission=RIGHT | changes)
    topic = topics.CHANNEL_SUBMISSIONS.named(channel).name
    return Event(new_id(), f"/{channel}", memory.NOON, data, topic, traceparent="00-1-2-01")


def receipts(parts: Any, topic: str = "channel.kiosk.receipts.v1") -> list[Event[Any]]:
    return [event for event in parts.publisher.events if event.topic == topic]


async def test_each_record_has_its_receipt_and_what_is_accepted_is_published(
    consumer: ChannelSubmissions, parts: Any, memory: Any
) -> None:
    await consumer.accept([sent("s1", memory), sent("s2", memory, text="x", consent=False), sent("s3", memory)])
    await parts.outbox.relay()
    assert [event.data.TYPE.split(".")[3] for event in parts.publisher.events] == [
        "submission-accepted", "submission-refused", "submission-accepted", "submitted", "submitted",
    ]  # fmt: skip
    first, refused, _ = receipts(parts)
    submitted = parts.publisher.events[3].data
    assert (first.data.reference, first.data.received_at) == (submitted.reference, memory.NOON)
    assert (submitted.channel, parts.publisher.events[3].traceparent) == ("kiosk", "00-1-2-01")
    assert {error.field for error in refused.data.errors} == {"text", "consent"}
    assert all(error.message_fr and error.message_ar for error in refused.data.errors)
    assert parts.complaints.added == [2]  # both in one write


async def test_the_append_time_of_the_topic_is_the_legal_receipt(
    consumer: ChannelSubmissions, parts: Any, memory: Any
) -> None:
    parts.clock.now += timedelta(days=3)
    await consumer.accept([sent("s1", memory)])
    assert receipts(parts)[0].data.received_at == memory.NOON


async def test_a_redelivered_batch_gives_the_same_receipts_and_no_second_complaint(
    consumer: ChannelSubmissions, parts: Any, memory: Any
) -> None:
    batch = [sent("s1", memory), sent("s2", memory, text="x"), sent("s1", memory)]
    await consumer.accept(batch)
    await consumer.accept(batch)
    given = [(event.id, event.data) for event in receipts(parts)]
    assert given[:3] == given[3:]
    assert given[0][1] == given[2][1]
    assert len(parts.complaints.kept) == 1
    await parts.outbox.relay()
    assert [event.topic for event in parts.publisher.events].count("complaints.submitted.v1") == 1


async def test_a_key_that_names_another_submission_is_refused(
    consumer: ChannelSubmissions, parts: Any, memory: Any
) -> None:
    await consumer.accept([sent("s1", memory), sent("s1", memory, text="Une route coupée."), sent("s1", memory, "fax")])
    first, second = receipts(parts)
    assert isinstance(first.data, SubmissionAccepted)
    assert isinstance(second.data, SubmissionRefused)
    assert [(error.field, error.code) for error in second.data.errors] == [("sender_id", "key_reused")]
    assert isinstance(receipts(parts, "channel.fax.receipts.v1")[0].data, SubmissionAccepted)


async def test_attachments_that_are_not_there_and_keys_that_are_too_long_are_reasons(
    consumer: ChannelSubmissions, parts: Any, memory: Any
) -> None:
    await consumer.accept([sent("s1", memory, attachments=["none"]), sent("", memory), sent("x" * 201, memory)])
    reasons = [(error.field, error.code) for event in receipts(parts) for error in event.data.errors]
    assert reasons == [("attachments", "attachment_unknown"), ("sender_id", "key_length"), ("sender_id", "key_length")]


async def test_while_kafka_is_away_the_batch_is_to_be_tried_again(
    consumer: ChannelSubmissions, parts: Any, memory: Any
) -> None:
    batch = [sent("s1", memory)]
    parts.publisher.fail = DependencyDown("away")
    with pytest.raises(DependencyDown):
        await consumer.accept(batch)
    assert len(parts.complaints.kept) == 1
    parts.publisher.fail = None
    await consumer.accept([replace(batch[0])])
    assert len(parts.complaints.kept) == len(receipts(parts)) == 1
