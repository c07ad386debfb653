"""A channel over Kafka, on a real broker; the test takes intake's part."""

import asyncio

import pytest
from chikaya_contracts import ids
from chikaya_contracts.envelope import Event
from chikaya_contracts.messages.channel import ChannelSubmission, FieldError
from chikaya_sdk import (
    Contact,
    KafkaChannel,
    NotAllowed,
    Place,
    Submission,
    SubmissionAccepted,
    SubmissionRefused,
    Unavailable,
)

SUBMISSION = Submission(
    text="L'eau est coupée depuis trois jours.",
    contact=Contact(name="Salma Bennani", phone="0612345678"),
    place=Place(text="Rabat"),
    consent=True,
)


def accepted(sender_id, now):
    return SubmissionAccepted(
        sender_id=sender_id,
        complaint_id=ids.new_id(),
        reference="20260000000123",
        received_at=now,
        relay_due=now,
        answer_due=now,
    )


def refused(sender_id):
    error = FieldError(field="text", code="too_short", message_fr="Texte trop court.", message_ar="النص قصير جدا.")
    return SubmissionRefused(sender_id=sender_id, errors=(error,))


@pytest.fixture
def receipt(chikaya, now):
    """Writes a receipt as intake does."""

    async def write(channel, data):
        topic = f"channel.{channel}.receipts.v1"
        await chikaya.write(Event(id=ids.new_id(), source="/intake", time=now, data=data, topic=topic))

    return write


async def test_a_submission_and_its_receipts(place, chikaya, receipt, now):
    await receipt("kiosk", accepted("of-an-earlier-session", now))
    async with KafkaChannel("kiosk", *place.account("channel-kiosk")) as kiosk:
        assert await kiosk.submit(SUBMISSION, "kiosk-1") == "kiosk-1"
        made = await kiosk.submit(SUBMISSION)
        (first, second) = await chikaya.read("channel.kiosk.submissions.v1", 2)
        assert {first.data.sender_id, second.data.sender_id} == {"kiosk-1", made}
        assert isinstance(first.data, ChannelSubmission)
        assert Submission.model_validate(first.data.submission) == SUBMISSION

        awaited = asyncio.create_task(kiosk.receipt_of("kiosk-1"))
        await receipt("kiosk", refused(made))
        await receipt("kiosk", accepted("kiosk-1", now))
        assert (await awaited).reference == "20260000000123"
        late = await kiosk.receipt_of(made)
        assert isinstance(late, SubmissionRefused)
        assert late.errors[0].message_fr == "Texte trop court."
        with pytest.raises(TimeoutError):
            await kiosk.receipt_of("of-an-earlier-session", timeout=0.3)

        seen = set()
        async with asyncio.timeout(30):
            async for one in kiosk.receipts():
                seen.add(one.sender_id)
                if len(seen) == 3:
                    break
        assert seen == {"of-an-earlier-session", "kiosk-1", made}


async def test_a_channel_has_only_its_own_topics(place):
    with pytest.raises(NotAllowed, match=r"channel\.app\.receipts\.v1"):
        async with KafkaChannel("app", *place.account("channel-kiosk")):
            pass
    with pytest.raises(NotAllowed, match=r"channel\.unheard-of\.receipts\.v1"):
        async with KafkaChannel("unheard-of", *place.account("channel-kiosk")):
            pass


async def test_no_broker_says_so(place):
    _, user, password = place.account("channel-kiosk")
    with pytest.raises(Unavailable, match="23499"):
        async with KafkaChannel("kiosk", "127.0.0.1:23499", user, password):
            pass
