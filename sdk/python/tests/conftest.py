"""A real broker, provisioned from the table of topics: each user has only its own rights."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from chikaya_contracts import envelope, ids, messages
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.messages.administration import DossierFollowUp
from chikaya_contracts.messages.routing import DossierForwarded
from chikaya_contracts.submission import Contact
from chikaya_local.kafka import Kafka

ROOT = Path(__file__).parents[3]
CHANNELS = ("kiosk", "app")
ADMINISTRATIONS = (
    "cnss", "onee", "dgi", "narsa", "dgsn", "education", "sante", "ancfcc", "poste", "anrt", "oncf", "habous",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where the broker is and everyone's password."""

    bootstrap: str
    passwords: dict[str, str]

    def account(self, user: str) -> tuple[str, str, str]:
        """(bootstrap, user, password), as the SDK's classes take them."""
        return self.bootstrap, user, self.passwords[user]

    def options(self, user: str = "admin") -> dict[str, Any]:
        return {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": user,
            "sasl_plain_password": self.passwords[user],
        }


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Kafka with its topics, users and access rights, made by `chikaya topics provision`."""
    folder = tmp_path_factory.mktemp("kafka")
    cache = Path(os.environ.get("CHIKAYA_LOCAL_CACHE", ROOT / ".local" / "cache"))
    kafka = Kafka(
        folder / "data", port=_free_port(), admin_password="admin-secret", broker_password="broker-secret", cache=cache
    )
    rows, credentials = folder / "catalogue.csv", folder / "credentials.json"
    rows.write_text("slug,own_system\n" + "".join(f"{slug},true\n" for slug in ADMINISTRATIONS))
    with kafka.running() as bootstrap:
        command = [sys.executable, "-m", "chikaya_servicekit.cli", "topics", "provision", "--yes"]
        files = ["--administrations", str(rows), "--credentials", str(credentials)]
        subprocess.run(
            [*command, *files, *(word for name in CHANNELS for word in ("--channel", name))],
            check=True,
            stdout=subprocess.DEVNULL,
            env={
                **os.environ,
                "CHIKAYA_KAFKA_BOOTSTRAP": bootstrap,
                "CHIKAYA_KAFKA_USER": "admin",
                "CHIKAYA_KAFKA_PASSWORD": "admin-secret",
                "CHIKAYA_KAFKA_SECURITY": "SASL_PLAINTEXT",
            },
        )
        yield Place(bootstrap, {"admin": "admin-secret", **json.loads(credentials.read_text())})


def _free_port() -> int:
    """A port of this package's range that is free together with its neighbour, for the controller."""
    for port in range(23000, 23100, 2):
        try:
            for taken in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", taken))
        except OSError:
            continue
        return port
    raise RuntimeError("no free port from 23000 to 23099")


@dataclass
class Chikaya:
    """Everybody else's side: writes what services write, reads what they would read."""

    place: Place
    producer: AIOKafkaProducer

    async def write(self, *events: Event[Any]) -> None:
        for event in events:
            topic, key, value, headers = envelope.encode(event)
            await self.producer.send_and_wait(topic, value, key=key, headers=headers)

    async def write_raw(self, topic: str, value: bytes, headers: dict[str, str]) -> None:
        pairs = [(name, text.encode()) for name, text in headers.items()]
        await self.producer.send_and_wait(topic, value, key=b"k", headers=pairs)

    async def read(self, topic: str, count: int) -> list[Event[Message]]:
        """The first `count` events of a topic, or as many as come in 20 s; raises for what is no valid message."""
        consumer = AIOKafkaConsumer(topic, **self.place.options(), group_id=None, auto_offset_reset="earliest")
        await consumer.start()
        found: list[Event[Message]] = []
        try:
            while len(found) < count:
                batch = await consumer.getmany(timeout_ms=20_000)
                if not batch:
                    break
                for records in batch.values():
                    for record in records:
                        event = envelope.decode(topic, record.value, tuple(record.headers), messages.ALL)
                        assert event is not None
                        assert record.key == event.data.key.encode()
                        found.append(event)
        finally:
            await consumer.stop()
        return found

    async def handled(self, group: str, count: int) -> None:
        """Returns when a consumer group has committed `count` records in all."""
        admin = AIOKafkaAdminClient(**self.place.options())
        await admin.start()
        try:
            async with asyncio.timeout(20):
                while True:
                    offsets = await admin.list_consumer_group_offsets(group)
                    if sum(max(0, one.offset) for one in offsets.values()) == count:
                        return
                    await asyncio.sleep(0.02)
        finally:
            await admin.close()


@pytest.fixture(scope="session")
async def chikaya(place: Place) -> AsyncIterator[Chikaya]:
    producer = AIOKafkaProducer(**place.options(), acks="all")
    await producer.start()
    yield Chikaya(place, producer)
    await producer.stop()


NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def dossier() -> Callable[..., Event[DossierForwarded]]:
    """Makes a dossier as routing forwards it; `topic` for the shared desk's inbox."""

    def made(administration: str, topic: str | None = None, **fields: Any) -> Event[DossierForwarded]:
        data = DossierForwarded(
            **{
                "complaint_id": ids.new_id(),
                "reference": "20260000000123",
                "decision": 1,
                "administration": administration,
                "channel": "portal",
                "received_at": NOW,
                "relay_due": NOW,
                "answer_due": NOW,
                "nature": "complaint",
                "text": "Ma carte d'immatriculation n'arrive pas. البطاقة ديالي ما جاتش.",
                "contact": Contact(name="Salma Bennani", phone="+212612345678"),
                "notice_language": "fr",
                "by": "model",
                **fields,
            }
        )
        return _event(data, "/routing", administration, topic)

    return made


@pytest.fixture(scope="session")
def follow_up() -> Callable[..., Event[DossierFollowUp]]:
    """Makes a follow-up as tracking sends it."""

    def made(administration: str, complaint_id: str, **fields: Any) -> Event[DossierFollowUp]:
        data = DossierFollowUp(
            **{
                "complaint_id": complaint_id,
                "reference": "20260000000123",
                "administration": administration,
                "kind": "question-answered",
                "at": NOW,
                "sequence": 4,
                "text": "Voici mon numéro.",
                **fields,
            }
        )
        return _event(data, "/tracking", administration, None)

    return made


def _event(data: Any, source: str, administration: str, topic: str | None) -> Event[Any]:
    return Event(
        id=ids.new_id(),
        source=source,
        time=NOW,
        data=data,
        topic=topic or f"administration.{administration}.inbox.v1",
        extensions={"administration": administration} if topic else {},
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
