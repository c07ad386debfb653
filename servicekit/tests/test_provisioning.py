"""Least privilege on the real broker: each principal can do what the table says, and no more."""

import asyncio
import contextlib
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from chikaya_contracts import topics
from chikaya_servicekit import provisioning


async def send(broker: Any, principal: str, topic: str) -> None:
    producer = AIOKafkaProducer(
        **broker.client(principal), acks="all", enable_idempotence=True, request_timeout_ms=5_000
    )
    try:
        await producer.start()
        await producer.send_and_wait(topic, b"{}")
    finally:
        await producer.stop()


async def read(broker: Any, principal: str, topic: str, group: str) -> None:
    """Reads what there is; nothing within 2 s is no error."""
    consumer = AIOKafkaConsumer(topic, **broker.client(principal), group_id=group, auto_offset_reset="earliest")
    try:
        await consumer.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(consumer.getone(), 2)
    finally:
        await consumer.stop()


@pytest.mark.parametrize(
    ("principal", "topic"),
    [
        ("cnss", "administration.cnss.outbox.v1"),
        ("desk", "administration.desk.outbox.v1"),
        ("channel-kiosk", "channel.kiosk.submissions.v1"),
        ("routing", "administration.onee.inbox.v1"),
        ("tracking", "complaints.lifecycle.v1"),
        ("operator", "channel.kiosk.submissions.v1"),
        ("operator", "desk.dead-letters.v1"),
    ],
)
async def test_a_principal_writes_its_own_topics(kafka: Any, principal: str, topic: str) -> None:
    await send(kafka, principal, topic)


@pytest.mark.parametrize(
    ("principal", "topic"),
    [
        ("cnss", "administration.onee.outbox.v1"),
        ("cnss", "administration.cnss.inbox.v1"),
        ("cnss", "complaints.routed.v1"),
        ("channel-kiosk", "channel.kiosk.receipts.v1"),
        ("channel-kiosk", "complaints.submitted.v1"),
        ("notification", "complaints.lifecycle.v1"),
        ("operator", "administration.cnss.inbox.v1"),
        ("routing", "tracking.dead-letters.v1"),
    ],
)
async def test_a_principal_cannot_write_anothers_topic(kafka: Any, principal: str, topic: str) -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await send(kafka, principal, topic)


@pytest.mark.parametrize(
    ("principal", "topic"),
    [
        ("cnss", "administration.onee.inbox.v1"),
        ("onee", "administration.desk.inbox.v1"),
        ("cnss", "complaints.submitted.v1"),
        ("channel-kiosk", "complaints.submitted.v1"),
        ("routing", "complaints.requests.v1"),
        ("routing", "tracking.dead-letters.v1"),
        ("operator", "complaints.submitted.v1"),
    ],
)
async def test_a_principal_cannot_read_anothers_topic(kafka: Any, principal: str, topic: str) -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await read(kafka, principal, topic, group=f"{principal}.tests")


async def test_an_administration_reads_its_own_inbox_in_its_own_groups_only(kafka: Any) -> None:
    await read(kafka, "cnss", "administration.cnss.inbox.v1", group="cnss.system")
    with pytest.raises(GroupAuthorizationFailedError):
        await read(kafka, "cnss", "administration.cnss.inbox.v1", group="onee.system")


def test_provisioning_again_has_nothing_to_do(kafka: Any) -> None:
    settings = provisioning.AdminSettings(
        kafka_bootstrap=kafka.bootstrap, kafka_user="admin", kafka_password=kafka.passwords["admin"]
    )
    assert provisioning.plan(provisioning.admin_client(settings), ["cnss", "onee"], ["kiosk"]).empty


@pytest.mark.parametrize(("replicas", "in_sync"), [(1, "1"), (2, "1"), (3, "2")])
def test_what_is_acknowledged_outlives_one_of_three_brokers(replicas: int, in_sync: str) -> None:
    assert provisioning.settings_of(topics.SUBMITTED, replicas)["min.insync.replicas"] == in_sync


def test_every_right_names_a_topic_of_the_table() -> None:
    wanted = topics.expand(["cnss"], ["kiosk"])
    who = provisioning.principals(["cnss"], ["kiosk"])
    named = {right.name for right in provisioning.rights(wanted, who)}
    assert named - {row.name for row in wanted} == {*(f"{name}." for name in who), "*", "kafka-cluster"}
    assert {right.principal.removeprefix("User:") for right in provisioning.rights(wanted, who)} <= set(who)
