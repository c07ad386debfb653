"""The process on a real broker, database and identity provider: a dossier in, a decision out, kill -9 between."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from chikaya_contracts import ids, messages
from chikaya_contracts.envelope import Event, decode, encode
from chikaya_local.login import token_for

OUTBOX, DEAD_LETTERS = "administration.desk.outbox.v1", "desk.dead-letters.v1"


def free_port(first: int) -> int:
    for port in range(first, first + 100):
        try:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return port
    raise RuntimeError(f"no free port from {first}")


@asynccontextmanager
async def running(module: str, url: str, path: str, settings: dict[str, str]) -> AsyncIterator[Any]:
    """A process, once `path` answers 200; it is killed at the end."""
    environment = os.environ | {f"CHIKAYA_{name}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with httpx.AsyncClient(base_url=url, timeout=10) as client:

            async def up() -> bool:
                try:
                    return (await client.get(path)).status_code == 200
                except httpx.TransportError:
                    return False

            await until(up)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def send(broker: Any, principal: str, *records: tuple[str, bytes, bytes, list[tuple[str, bytes]]]) -> None:
    producer = AIOKafkaProducer(**broker.client(principal), acks="all")
    await producer.start()
    try:
        for topic, key, value, headers in records:
            await producer.send_and_wait(topic, value, key=key, headers=headers)
    finally:
        await producer.stop()


async def read(broker: Any, principal: str, topic: str, key: str) -> list[Any]:
    """All records of a key, once there is one and no more come."""
    consumer = AIOKafkaConsumer(topic, **broker.client(principal), group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    found: list[Any] = []
    try:
        async with asyncio.timeout(30):
            while True:
                batch = [one for some in (await consumer.getmany(timeout_ms=700)).values() for one in some]
                found += [one for one in batch if one.key == key.encode()]
                if found and not batch:
                    return found
    finally:
        await consumer.stop()


def now_made(make: Any, number: int) -> Any:
    """A complaint received today, under an id of its own: the broker outlives this test."""
    one = make.another(number)
    one.start, one.complaint_id = datetime.now(UTC).replace(microsecond=0), ids.new_id()
    return one


@pytest.fixture
async def desk(kafka: Any, mongo_uri: str) -> AsyncIterator[Any]:
    """Starts the desk beside an identity provider; gives what is needed to start it again."""
    port, provider = free_port(26_700), free_port(26_800)
    url, issuer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{provider}"
    clients = {"desk": {"secret": "s" * 32, "redirect_uris": [f"{url}/login/callback"]}}
    identity = {"PORT": str(provider), "OIDC_ISSUER": issuer, "PUBLIC_URL": issuer, "OIDC_CLIENTS": json.dumps(clients)}
    settings = {
        "PORT": str(port), "PUBLIC_URL": url, "MONGO_URI": mongo_uri, "MONGO_DATABASE": "desk",
        "OIDC_ISSUER": issuer, "OIDC_CLIENT_SECRET": "s" * 32, "SESSION_SECRET": "t" * 32,
        **{name.removeprefix("CHIKAYA_"): value for name, value in kafka.environment("desk").items()},
    }  # fmt: skip
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            running("chikaya_local.identity", issuer, "/.well-known/openid-configuration", identity)
        )

        async def start() -> Any:
            return await stack.enter_async_context(running("chikaya_desk.app", url, "/readyz", settings))

        async def client(sub: str) -> httpx.AsyncClient:
            token = await asyncio.to_thread(token_for, issuer, "desk", "s" * 32, f"{url}/login/callback", sub)
            headers = {"Authorization": f"Bearer {token}"}
            return await stack.enter_async_context(httpx.AsyncClient(base_url=url, headers=headers, timeout=20))

        yield start, client


async def test_a_dossier_comes_in_and_its_answer_goes_out(kafka: Any, desk: Any, make: Any) -> None:
    start, client = desk
    one = now_made(make, 71)
    where = f"/v1/dossiers/{one.complaint_id}"
    spoilt = ("administration.desk.inbox.v1", one.complaint_id.encode(), b"{}", encode(one.forwarded())[3])
    row = Event(ids.new_id(), "/routing", one.start, make.listed("habous", "Habous"), "catalogue.administrations.v1")
    await send(kafka, "routing", encode(row), spoilt, encode(one.forwarded(at=0)))
    process = await start()
    officer, stranger = await client("officer.habous@chikaya.local"), await client("officer.oncf@chikaya.local")

    async def there() -> bool:
        return (await officer.get(where)).status_code == 200

    await until(there)
    assert (await stranger.get(where)).status_code == 404
    assert [one.value for one in await read(kafka, "operator", DEAD_LETTERS, one.complaint_id)] == [b"{}"]
    page = await officer.post(
        f"/dossiers/{one.complaint_id}/answer", data={"form": "f", "text": "تم الإصلاح."}, follow_redirects=False
    )
    assert page.status_code == 303
    process.send_signal(signal.SIGKILL)
    await process.wait()

    process = await start()
    assert (await officer.get(where)).json()["state"] == "answered"
    repeat = await officer.post(f"/dossiers/{one.complaint_id}/answer", data={"form": "f", "text": "تم الإصلاح."})
    assert repeat.status_code == 303
    [record] = await read(kafka, "tracking", OUTBOX, one.complaint_id)
    answer = decode(OUTBOX, record.value, record.headers, messages.ALL)
    assert answer is not None
    assert answer.type == "ma.chikaya.administration.answered.v1"
    assert answer.extensions == {"administration": "habous"}
    assert (answer.data.text, answer.data.officer) == ("تم الإصلاح.", "officer.habous@chikaya.local")

    await send(kafka, "tracking", encode(one.refused("answered", 6, at=1)))

    async def back() -> bool:
        return (await officer.get(where)).json()["state"] == "routed"

    await until(back)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() in (0, -signal.SIGTERM)
