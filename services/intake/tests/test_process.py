"""The process itself on a real broker and database: killed, restarted, cut off from each."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from chikaya_contracts import ids, messages, topics
from chikaya_contracts.envelope import Event, decode, encode
from chikaya_contracts.messages.channel import ChannelSubmission, SubmissionAccepted
from chikaya_intake.adapters.mongo import MongoChannels
from chikaya_intake.channels import key_hash
from chikaya_intake.stores import Channel
from chikaya_servicekit.clock import utc_now

KEY = "k" * 43
NOWHERE = "127.0.0.1:9"
RIGHT: dict[str, Any] = {
    "text": "L'éclairage de la rue est en panne depuis un mois.",
    "contact": {"name": "Nadia El Hamdaoui", "phone": "0600000090"},
    "consent": True,
}


@pytest.fixture
async def environment(database: Any, mongo_uri: str, free_port: Callable[[], int], memory: Any) -> dict[str, str]:
    """Settings of a process with a database of its own, in which the portal and the kiosk have keys; no broker."""
    channels = MongoChannels(database)
    await channels.add(Channel("portal", key_hash(KEY), memory.NOON))
    await channels.add(Channel("kiosk", key_hash("o" * 43), memory.NOON))
    secrets = ("ACCESS_CODE_SECRET", "VERIFIER_KEY", "ATTACHMENT_LINK_SECRET")
    return {
        **{f"CHIKAYA_{name}": name.lower() * 3 for name in secrets},
        "CHIKAYA_PORT": str(free_port()),
        "CHIKAYA_MONGO_URI": mongo_uri,
        "CHIKAYA_MONGO_DATABASE": database.name,
        "CHIKAYA_KAFKA_BOOTSTRAP": NOWHERE,
    }


@asynccontextmanager
async def running(environment: dict[str, str], **changes: str) -> AsyncIterator[tuple[Any, httpx.AsyncClient]]:
    """The process and a client of it, once it listens; it is killed at the end."""
    settings = environment | changes
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chikaya_intake.app", env=os.environ | settings, stdout=asyncio.subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{settings['CHIKAYA_PORT']}"
    try:
        async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": KEY}, timeout=20) as client:
            await until(lambda: ready(client))
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ready(client: httpx.AsyncClient, without: str = "nothing") -> bool:
    try:
        answer = await client.get("/readyz")
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and without not in answer.text


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def read(broker: Any, principal: str, topic: str, wanted: Callable[[Event[Any]], bool], count: int) -> list[Any]:
    """The wanted events of a topic, from its beginning, until there are `count` of them and no more come."""
    consumer = AIOKafkaConsumer(topic, **broker.client(principal), group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    found: list[Any] = []
    try:
        async with asyncio.timeout(40):
            while True:
                batch = await consumer.getmany(timeout_ms=500)
                records = [record for some in batch.values() for record in some]
                events = [decode(one.topic, one.value, one.headers, messages.ALL) for one in records]
                found += [event for event in events if event and wanted(event)]
                if not records and len(found) >= count:
                    return found
    finally:
        await consumer.stop()


async def test_what_was_answered_before_a_kill_reaches_kafka_after_it(kafka: Any, environment: dict[str, str]) -> None:
    async with running(environment) as (process, client):
        assert (await client.get("/readyz")).json()["notes"]["kafka"]
        answers = await asyncio.gather(*(client.post("/v1/complaints", json=RIGHT) for _ in range(40)))
        again = await client.post("/v1/complaints", json=RIGHT, headers={"Idempotency-Key": "k"})
        process.send_signal(signal.SIGKILL)
    receipts = {answer.json()["complaint_id"]: answer.json()["reference"] for answer in [*answers, again]}
    async with running(environment, **kafka.environment("intake")) as (process, client):
        repeated = await client.post("/v1/complaints", json=RIGHT, headers={"Idempotency-Key": "k"})
        assert repeated.json() == again.json()
        after = await client.post("/v1/complaints", json=RIGHT)
        receipts[after.json()["complaint_id"]] = after.json()["reference"]
        sent = await read(
            kafka, "routing", topics.SUBMITTED.name, lambda event: event.data.complaint_id in receipts, len(receipts)
        )
        await until(lambda: ready(client, without="notes"))
        process.send_signal(signal.SIGTERM)
        assert await process.wait() in (0, -signal.SIGTERM)
    assert {event.data.complaint_id: event.data.reference for event in sent} == receipts
    assert len(set(receipts.values())) == 42


async def test_two_processes_on_one_database_one_of_them_killed_under_load(
    kafka: Any, environment: dict[str, str], free_port: Callable[[], int]
) -> None:
    settings = environment | kafka.environment("intake")
    receipts: dict[str, str] = {}
    unanswered: list[str] = []

    async def files(client: httpx.AsyncClient, name: str, count: int) -> None:
        for number in range(count):
            key = f"{name}-{number}"
            try:
                answer = await client.post("/v1/complaints", json=RIGHT, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                unanswered.append(key)
                continue
            receipts[answer.json()["complaint_id"]] = answer.json()["reference"]

    async with (
        running(settings) as (killed, one),
        running(settings, CHIKAYA_PORT=str(free_port())) as (_, other),
    ):
        load = asyncio.gather(
            *(files(one, f"one{number}", 12) for number in range(8)),
            *(files(other, f"other{number}", 12) for number in range(4)),
        )
        await until(lambda: asyncio.sleep(0, len(receipts) > 60))
        killed.send_signal(signal.SIGKILL)
        await load
        assert unanswered
        for key in unanswered:
            answer = await other.post("/v1/complaints", json=RIGHT, headers={"Idempotency-Key": key})
            receipts[answer.json()["complaint_id"]] = answer.json()["reference"]
        sent = await read(
            kafka, "routing", topics.SUBMITTED.name, lambda event: event.data.complaint_id in receipts, len(receipts)
        )
    assert len(receipts) == len(set(receipts.values())) == 144
    assert {event.data.complaint_id: event.data.reference for event in sent} == receipts
    assert len({event.id for event in sent}) == 144


async def test_a_channel_submits_over_kafka_and_asks_for_the_access_code_over_http(
    kafka: Any, environment: dict[str, str]
) -> None:
    sender_id = ids.new_id()
    topic = topics.CHANNEL_SUBMISSIONS.named("kiosk").name
    event = Event(ids.new_id(), "/kiosk", utc_now(), ChannelSubmission(sender_id=sender_id, submission=RIGHT), topic)
    producer = AIOKafkaProducer(**kafka.client("channel-kiosk"), acks="all")
    await producer.start()
    try:
        for _ in range(2):
            _, key, value, headers = encode(event)
            await producer.send_and_wait(topic, value, key=key, headers=headers)
    finally:
        await producer.stop()
    async with running(environment, **kafka.environment("intake")) as (_, client):
        receipts = topics.CHANNEL_RECEIPTS.named("kiosk").name
        given = await read(kafka, "channel-kiosk", receipts, lambda event: event.data.sender_id == sender_id, 2)
        code = await client.get(f"/v1/receipts/{sender_id}", headers={"X-API-Key": "o" * 43})
    assert all(isinstance(receipt.data, SubmissionAccepted) for receipt in given)
    assert {receipt.id for receipt in given} == {given[0].id}
    assert {receipt.data.reference for receipt in given} == {code.json()["reference"]}
    assert code.json()["access_code"]


async def test_with_the_database_away_no_reference_is_given(environment: dict[str, str]) -> None:
    nothing = f"mongodb://{NOWHERE}/?directConnection=true"
    settings = environment | {"CHIKAYA_MONGO_URI": nothing}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chikaya_intake.app", env=os.environ | settings, stdout=asyncio.subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{settings['CHIKAYA_PORT']}"
    try:
        async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": KEY}, timeout=20) as client:

            async def listens() -> bool:
                try:
                    return (await client.get("/livez")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(listens)
            answer = await client.post("/v1/complaints", json=RIGHT)
            waiting = await client.get("/readyz")
    finally:
        process.kill()
        await process.wait()
    assert (answer.status_code, "reference" in answer.text) == (503, False)
    assert answer.headers["Retry-After"]
    assert (waiting.status_code, list(waiting.json()["waiting_for"])) == (503, ["mongo"])
