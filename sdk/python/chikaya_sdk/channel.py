"""For channel teams over Kafka: submit complaints on your channel's topic, read their receipts on its other."""

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any, Self, TypeAlias

from aiokafka import AIOKafkaConsumer
from chikaya_contracts import envelope, messages, topics
from chikaya_contracts.envelope import Event
from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.channel import ChannelSubmission, SubmissionAccepted, SubmissionRefused
from chikaya_contracts.submission import Submission

from .broker import Guest, Incoming, OnUndecodable, Security, log_undecodable
from .errors import NotAllowed

ChannelReceipt: TypeAlias = SubmissionAccepted | SubmissionRefused
KNOWN = messages.on(topics.CHANNEL_RECEIPTS)
REMEMBERED = 10_000


class KafkaChannel(Guest):
    """A channel plugged in over Kafka: an async context manager.

    Args:
        name: the channel's name, as in its topics `channel.<name>.submissions.v1` and `channel.<name>.receipts.v1`.
        user: its Kafka user, `channel-<name>`.
        on_undecodable: told of a receipt that is no valid message, which `receipts` then passes over.
    """

    def __init__(
        self,
        name: str,
        bootstrap: str,
        user: str,
        password: str,
        *,
        security: Security = "SASL_PLAINTEXT",
        on_undecodable: OnUndecodable = log_undecodable,
    ) -> None:
        super().__init__(bootstrap, user, password, security)
        self.name = name
        receipts = topics.CHANNEL_RECEIPTS.named(name).name
        self._watch = _Watch(receipts)
        self._receipts: Incoming[ChannelReceipt] = Incoming(
            self, receipts, "receipts", KNOWN, lambda event: event.data, on_undecodable
        )

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        try:
            # From here on, so that no receipt of what is submitted next is missed.
            await self._watch.begin(self)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def submit(self, submission: Submission, sender_id: str | None = None) -> str:
        """Submits a complaint and gives its sender's id; returns when every replica in sync has it.

        Args:
            sender_id: your own id of it. The same id again, after a crash, gives the same receipt and no second
                complaint. Made here by default.

        Raises:
            NotAllowed: this user may not write the channel's topic.
            Unavailable: Kafka is away; repeat with the same `sender_id`.
        """
        sender_id = sender_id or new_id()
        body = submission.model_dump(mode="json", exclude_none=True)
        await self.send(
            Event(
                id=new_id(),
                source=f"/channel/{self.name}",
                time=datetime.now(UTC),
                data=ChannelSubmission(sender_id=sender_id, submission=body),
                topic=topics.CHANNEL_SUBMISSIONS.named(self.name).name,
            )
        )
        return sender_id

    async def receipt_of(self, sender_id: str, timeout: float = 30.0) -> ChannelReceipt:
        """The receipt of what was submitted while this channel was open: accepted with a reference, or refused.

        The access code is not in it: `Intake.receipt` gives that, with the channel's key. The last 10,000 receipts
        are remembered; `receipts` gives all.

        Raises:
            TimeoutError: no receipt within `timeout` seconds. The submission is safe in its topic all the same.
            Unavailable: Kafka is away.
        """
        async with asyncio.timeout(timeout):
            with self.broker.explained():
                return await self._watch.receipt_of(sender_id)

    def receipts(self) -> Incoming[ChannelReceipt]:
        """Every receipt of the channel, the first time from the oldest kept (30 days): `async for receipt in …`."""
        return self._receipts


class _Watch:
    """The channel's receipts by sender's id, from the moment that it was opened."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._seen: OrderedDict[str, ChannelReceipt] = OrderedDict()
        self._awaited: dict[str, asyncio.Future[ChannelReceipt]] = {}

    async def begin(self, channel: Guest) -> None:
        """Notes where the topic ends now and reads on from there until the channel is closed."""
        consumer = AIOKafkaConsumer(
            self._topic, **channel.broker.options(), group_id=None, auto_offset_reset="latest", enable_auto_commit=False
        )
        await channel.connected(consumer)
        if not consumer.assignment():
            raise NotAllowed(f"{self._topic}: there is no such topic, or this user may not read it")
        await consumer.seek_to_end()
        self._reading = asyncio.create_task(self._read(consumer))

    async def receipt_of(self, sender_id: str) -> ChannelReceipt:
        if sender_id in self._seen:
            return self._seen[sender_id]
        awaited = self._awaited.setdefault(sender_id, asyncio.get_running_loop().create_future())
        either: set[asyncio.Future[Any]] = {awaited, self._reading}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not awaited.done():
            self._reading.result()
            raise RuntimeError("the channel is closed")
        return awaited.result()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            try:
                event = envelope.decode(record.topic, record.value, tuple(record.headers), KNOWN)
            except envelope.Undecodable:
                continue  # told of by `receipts`, and nobody's receipt
            if event is None or not isinstance(event.data, SubmissionAccepted | SubmissionRefused):
                continue
            receipt = event.data
            self._seen[receipt.sender_id] = receipt
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            awaited = self._awaited.pop(receipt.sender_id, None)
            if awaited and not awaited.done():
                awaited.set_result(receipt)
