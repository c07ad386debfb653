"""A channel over Kafka: submits one complaint and waits for its receipt.

Needs CHIKAYA_CHANNEL, CHIKAYA_KAFKA_BOOTSTRAP, CHIKAYA_KAFKA_USER and CHIKAYA_KAFKA_PASSWORD.
Run: python channel_kafka.py your-own-id "what the citizen wrote"
"""

import asyncio
import os
import sys

from chikaya_sdk import Contact, KafkaChannel, Submission, SubmissionAccepted


async def main(sender_id: str, text: str) -> None:
    contact = Contact(name="Salma Bennani", phone="0612345678")
    names = ("CHIKAYA_CHANNEL", "CHIKAYA_KAFKA_BOOTSTRAP", "CHIKAYA_KAFKA_USER", "CHIKAYA_KAFKA_PASSWORD")
    async with KafkaChannel(*(os.environ[name] for name in names)) as channel:
        await channel.submit(Submission(text=text, contact=contact, consent=True), sender_id)
        receipt = await channel.receipt_of(sender_id)
    if isinstance(receipt, SubmissionAccepted):
        print(f"reference {receipt.reference}, answer due {receipt.answer_due:%Y-%m-%d}")
    else:
        sys.exit("\n".join(f"{error.field}: {error.message_fr}" for error in receipt.errors))


asyncio.run(main(*sys.argv[1:]))
