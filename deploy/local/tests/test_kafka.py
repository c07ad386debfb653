"""The broker keeps what it has acknowledged, and lets in only who is known and only where they may go."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from chikaya_local.errors import CannotStart
from chikaya_local.kafka import Kafka, fetch_jars, locked_jars
from chikaya_local.report import Report
from chikaya_local.stack import Stack
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    NewTopic,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

RECORDS = 3000


def admin(stack: Stack) -> AdminClient:
    return AdminClient(stack.kafka.client_settings("admin", stack.secrets.kafka_admin))


def client(stack: Stack, user: str, password: str) -> dict[str, Any]:
    return {
        "bootstrap_servers": stack.kafka.bootstrap,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": user,
        "sasl_plain_password": password,
    }


@pytest.fixture(scope="session")
def topic(servers: Stack) -> str:
    as_admin = admin(servers)
    as_admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(10)
    return "kept"


async def test_what_was_acknowledged_survives_kill_9_once_and_in_order(servers: Stack, topic: str) -> None:
    as_admin = client(servers, "admin", servers.secrets.kafka_admin)
    acknowledged: list[int] = []
    async with AIOKafkaProducer(**as_admin, acks="all", enable_idempotence=True) as producer:
        sending = [await producer.send(topic, str(number).encode()) for number in range(RECORDS // 2)]
        old = servers.kill("kafka")
        sending += [await producer.send(topic, str(number).encode()) for number in range(RECORDS // 2, RECORDS)]
        for number, sent in enumerate(sending):
            await sent
            acknowledged.append(number)
    assert servers.pid("kafka") not in (None, old)

    read: list[int] = []
    async with AIOKafkaConsumer(**as_admin, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                while len(read) < RECORDS:
                    for batch in (await consumer.getmany(timeout_ms=500)).values():
                        read += [int(record.value) for record in batch]
    assert read == acknowledged == list(range(RECORDS))


async def test_a_wrong_password_is_refused(servers: Stack) -> None:
    producer = AIOKafkaProducer(**client(servers, "admin", "wrong"))
    try:
        with pytest.raises(KafkaError):
            await producer.start()
    finally:
        await producer.stop()


async def test_a_user_with_no_rights_may_not_write(servers: Stack, topic: str) -> None:
    credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    user = UserScramCredentialUpsertion("stranger", credential, password=b"known-password")
    as_admin = admin(servers)
    as_admin.alter_user_scram_credentials([user])["stranger"].result(10)
    strange = AdminClient(servers.kafka.client_settings("stranger", "known-password"))
    with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
        strange.create_topics([NewTopic("another", 1, 1)])["another"].result(10)
    assert topic not in strange.list_topics(timeout=10).topics


async def test_topics_are_not_made_by_writing_to_them(servers: Stack) -> None:
    as_admin = client(servers, "admin", servers.secrets.kafka_admin)
    async with AIOKafkaProducer(**as_admin, request_timeout_ms=2000) as producer:
        with pytest.raises(KafkaError):
            await producer.send_and_wait("nobody-made-this", b"x")


def test_every_jar_is_locked_once_with_its_checksum() -> None:
    jars = locked_jars()
    assert len({jar.coordinate for jar in jars}) == len(jars) > 40
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in jars)


def test_no_network_names_the_jar_and_the_setting(
    tmp_path: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(CannotStart, match=r"Could not fetch \S+:\S+:[\s\S]+CHIKAYA_LOCAL_CACHE"):
        fetch_jars(tmp_path, report)


def test_two_brokers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="1 or 3"):
        Kafka(tmp_path, nodes=2, admin_password="a", broker_password="b", cache=tmp_path)
