"""Kafka, as a guest of Chikaya uses it: one user, one topic to write, one to read, offsets kept for the reader.

Records are CloudEvents in binary mode (`chikaya_contracts.envelope`). Delivery is at least once both ways: ids are
such that a repeat takes effect once.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from aiokafka.helpers import create_ssl_context
from chikaya_contracts import envelope
from chikaya_contracts.envelope import Event, Message

from .errors import NotAllowed, Unavailable

log = logging.getLogger("chikaya_sdk")

Security = Literal["SASL_SSL", "SASL_PLAINTEXT", "PLAINTEXT"]
T = TypeVar("T")

DELIVERY_S = 30.0
GOODBYE_S = 5.0
RETRY_AFTER_S = 5.0
HANDLING_MS = 15 * 60 * 1000


@dataclass(frozen=True)
class Broker:
    """Where Kafka is and who asks. SCRAM-SHA-512; `SASL_SSL` trusts the system's certificates."""

    bootstrap: str
    user: str
    password: str = field(repr=False)
    security: Security = "SASL_PLAINTEXT"

    def options(self) -> dict[str, Any]:
        """Arguments for any aiokafka client."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "client_id": self.user,
            "security_protocol": self.security,
            "metadata_max_age_ms": 10_000,
        }
        if self.security != "PLAINTEXT":
            options |= {
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        if self.security == "SASL_SSL":
            options["ssl_context"] = create_ssl_context()
        return options

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Kafka's errors as this package's."""
        try:
            yield
        except (TopicAuthorizationFailedError, GroupAuthorizationFailedError) as error:
            raise NotAllowed(f"{self.user} may not use {error.args[0] if error.args else 'this topic'}") from error
        except KafkaError as error:
            raise Unavailable(f"Kafka at {self.bootstrap}: {error!r}", RETRY_AFTER_S) from error

    @asynccontextmanager
    async def started(self, client: AIOKafkaConsumer | AIOKafkaProducer) -> AsyncIterator[None]:
        """`client` between its start and its stop.

        Raises:
            Unavailable: no broker answers, or it refuses the user's password.
        """
        try:
            with self.explained():
                await client.start()
            yield
        finally:
            try:
                await asyncio.wait_for(client.stop(), GOODBYE_S)
            except TimeoutError:
                log.warning("Kafka at %s is away: left without its goodbye", self.bootstrap)


class Guest:
    """A party of Chikaya's on Kafka: an async context manager, which writes its events and reads those for it."""

    def __init__(self, bootstrap: str, user: str, password: str, security: Security) -> None:
        self.broker = Broker(bootstrap, user, password, security)
        self._clients: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as clients:
            self._producer = AIOKafkaProducer(**self.broker.options(), acks="all", enable_idempotence=True)
            await clients.enter_async_context(self.broker.started(self._producer))
            self._clients = clients.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._clients:
            clients, self._clients = self._clients, None
            await clients.aclose()

    async def connected(self, client: AIOKafkaConsumer) -> None:
        """Starts a client that is stopped when this context is left.

        Raises:
            Unavailable: no broker answers, or it refuses the user's password.
        """
        if self._clients is None:
            raise RuntimeError(f"use {type(self).__name__} in `async with`")
        await self._clients.enter_async_context(self.broker.started(client))

    async def send(self, event: Event[Message]) -> None:
        """Sends one event; returns when every replica in sync has it.

        Raises:
            NotAllowed: this user may not write that topic.
            Unavailable: not acknowledged within 30 s. It may still arrive: send it again with the same id.
        """
        if self._clients is None:
            raise RuntimeError(f"use {type(self).__name__} in `async with`")
        topic, key, value, headers = envelope.encode(event)
        with self.broker.explained():
            try:
                async with asyncio.timeout(DELIVERY_S):
                    sent = await self._producer.send(topic, value, key=key, headers=headers)
                    await asyncio.shield(sent)  # cancelled, it would still be sent, and its failure be nobody's
            except TimeoutError:
                raise Unavailable(f"{topic}: not acknowledged within {DELIVERY_S:g} s", RETRY_AFTER_S) from None


@dataclass(frozen=True, slots=True)
class UndecodableRecord:
    """A record that is no valid message. `reason` holds no value of it; `value` may be personal: do not log it."""

    topic: str
    partition: int
    offset: int
    reason: str
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: tuple[tuple[str, bytes], ...] = field(repr=False)


OnUndecodable = Callable[[UndecodableRecord], Awaitable[None]]


async def log_undecodable(record: UndecodableRecord) -> None:
    """Writes where it is and why, as an error, and lets the reader go on."""
    log.error("undecodable record passed over: %r", record)


class Incoming(Generic[T]):
    """The events of one topic as items, for `async for`; an item counts as handled when the loop asks for the next.

    An exception in the loop, `break` or a kill leaves the present item unhandled: the next loop, in this process or
    another of the same user, begins with it. So an item can come twice, and none is missed. Several processes share
    the topic's partitions; an item in handling for more than 15 minutes may go to another. One loop at a time.
    """

    def __init__(
        self,
        guest: Guest,
        topic: str,
        purpose: str,
        known: dict[str, type[Message]],
        item: Callable[[Event[Any]], T],
        on_undecodable: OnUndecodable,
    ) -> None:
        self._guest, self._topic, self._group = guest, topic, f"{guest.broker.user}.{purpose}"
        self._known, self._item, self._on_undecodable = known, item, on_undecodable
        self._consumer: AIOKafkaConsumer | None = None
        self._handling: ConsumerRecord | None = None

    def __aiter__(self) -> Self:
        """Begins a loop: with the item that an earlier loop left unhandled, if there is one."""
        if self._handling and self._consumer:
            try:
                self._consumer.seek(TopicPartition(self._topic, self._handling.partition), self._handling.offset)
            except IllegalStateError:
                log.info("%s[%d] went to another reader", self._topic, self._handling.partition)
        self._handling = None
        return self

    async def __anext__(self) -> T:
        with self._guest.broker.explained():
            consumer = self._consumer or await self._joined()
            if self._handling:
                await self._handled(consumer, self._handling)
            while True:
                try:
                    self._handling = record = await consumer.getone()
                except ConsumerStoppedError:
                    raise StopAsyncIteration from None
                event = await self._decoded(record)
                if event is not None:
                    return self._item(event)
                await self._handled(consumer, record)

    async def _joined(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            self._topic,
            **self._guest.broker.options(),
            group_id=self._group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6000,
            heartbeat_interval_ms=2000,
            max_poll_interval_ms=HANDLING_MS,
        )
        await self._guest.connected(consumer)
        self._consumer = consumer
        return consumer

    async def _decoded(self, record: ConsumerRecord) -> Event[Message] | None:
        """None for what this version does not know, and after `on_undecodable` for what nobody can read."""
        headers = tuple(record.headers)
        try:
            return envelope.decode(record.topic, record.value, headers, self._known)
        except envelope.Undecodable as error:
            place = (record.topic, record.partition, record.offset)
            await self._on_undecodable(UndecodableRecord(*place, str(error), record.key, record.value, headers))
            return None

    async def _handled(self, consumer: AIOKafkaConsumer, record: ConsumerRecord) -> None:
        self._handling = None
        try:
            await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})
        except (CommitFailedError, IllegalStateError):
            log.info("%s[%d] went to another reader, who repeats %d", record.topic, record.partition, record.offset)
