"""The process on a real broker and a real database: what it reads and says, kill -9 included."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from chikaya_contracts import access
from chikaya_contracts.envelope import Event, encode
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_local.login import token_for
from chikaya_local.programs import PROGRAMS
from chikaya_local.stack import Settings, Stack, free_ports

CODE = "AB12-CD34-EF56"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, the database, the identity provider and tracking; `cnss` has a topic pair of its own."""
    programs = tuple(program for program in PROGRAMS if program.name in ("identity", "tracking"))
    settings = Settings(more={"tracking": {"CLOCK_PERIOD_S": "1"}})
    folder = tmp_path_factory.mktemp("stack")
    stack = Stack(folder / "stack", free_ports(22_600, 22_999), settings, programs=programs)
    rows = folder / "administrations.csv"
    rows.write_text("slug,own_system\ncnss,true\nhabous,false\n", "utf-8")
    with stack.servers():
        credentials = str(stack.directory / "kafka-credentials.json")
        stack.run(
            "chikaya_servicekit.cli", "topics", "provision", "--administrations", str(rows),
            "--credentials", credentials, "--yes", env=stack.admin_env(),
        )  # fmt: skip
        stack.start(*stack.names)
        stack.wait_ready()
        yield stack


def kafka(stack: Stack, principal: str) -> dict:
    env = stack.kafka_env(principal)
    return {
        "bootstrap_servers": env["KAFKA_BOOTSTRAP"], "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": env["KAFKA_USER"], "sasl_plain_password": env["KAFKA_PASSWORD"],
    }  # fmt: skip


async def send(stack: Stack, principal: str, *events: Event) -> None:
    producer = AIOKafkaProducer(**kafka(stack, principal), acks="all")
    await producer.start()
    try:
        for event in events:
            topic, key, value, headers = encode(event)
            await producer.send_and_wait(topic, value, key=key, headers=headers)
    finally:
        await producer.stop()


@asynccontextmanager
async def reading(stack: Stack, principal: str, *names: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(*names, **kafka(stack, principal), auto_offset_reset="earliest")
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def records(consumer: AIOKafkaConsumer, key: str, count: int, within: float = 30) -> list[tuple[dict, dict]]:
    """The first `count` records of a key: (headers, value)."""
    found: list[tuple[dict, dict]] = []
    deadline = time.monotonic() + within
    while len(found) < count and time.monotonic() < deadline:
        for batch in (await consumer.getmany(timeout_ms=200)).values():
            found += [
                ({name: text.decode() for name, text in one.headers}, json.loads(one.value))
                for one in batch
                if one.key == key.encode()
            ]
    return found


async def until(ask: Any, holds: Any, within: Any = 30) -> Any:
    """What `ask` gives once it `holds`."""
    deadline = time.monotonic() + within
    while True:
        answer = await ask()
        if holds(answer) or time.monotonic() > deadline:
            return answer
        await asyncio.sleep(0.1)


@pytest.fixture
async def site(stack: Any) -> Any:
    async with httpx.AsyncClient(base_url=stack.url("tracking"), timeout=10) as client:
        yield client


def filed(stack: Any, make: Any, **fields: Any) -> Any:
    key = stack.secrets.verifier_key.encode()
    return make.submitted(verifier=access.verifier(key, make.complaint_id, CODE), **fields)


def now_made(make: Any, number: Any) -> Any:
    """Another complaint, received today: the real clock runs."""
    from datetime import UTC, datetime

    one = make.another(number)
    one.start = datetime.now(UTC).replace(microsecond=0)
    return one


async def test_a_complaint_lives_through_kafka_and_http(stack: Any, site: Any, make: Any) -> None:
    one = now_made(make, 101)
    await send(stack, "routing", *(
        Event(f"c-{slug}", "/routing", one.start, AdministrationListed(
            slug=slug, name_fr=slug.upper(), name_ar="مكتب", kind="establishment", own_system=own, version=1
        ), AdministrationListed.TOPIC.name)
        for slug, own in (("cnss", True), ("habous", False))
    ))  # fmt: skip
    await send(stack, "intake", filed(stack, one))
    await send(stack, "routing", one.routed("cnss", at=0))
    headers = {"Access-Code": CODE}
    where = f"/v1/complaints/{one.reference}"

    async def read() -> Any:
        return await site.get(where, headers=headers)

    shown = await until(read, lambda r: r.status_code == 200 and r.json()["state"] == "routed")
    assert shown.json()["state"] == "routed", shown.text
    await send(stack, "cnss", one.ask("cnss"))
    shown = await until(read, lambda r: r.json()["state"] == "waiting_for_citizen")
    assert shown.json()["question"]["text"] == "Quelle rue ?"
    asked = await site.post(f"{where}/requests", json={"kind": "answer-question", "text": "Hay Salam"}, headers=headers)
    assert asked.status_code == 202

    async def outcome() -> Any:
        return await site.get(asked.headers["Location"], headers=headers)

    assert (await until(outcome, lambda r: r.json()["status"] != "pending")).json()["status"] == "applied"
    async with reading(stack, "cnss", "administration.cnss.inbox.v1") as inbox:
        [(attributes, follow_up)] = await records(inbox, one.complaint_id, 1)
    assert (follow_up["kind"], follow_up["text"]) == ("question-answered", "Hay Salam")
    assert attributes["ce_administration"] == "cnss"
    async with reading(stack, "notification", "complaints.lifecycle.v1") as lifecycle:
        said = await records(lifecycle, one.complaint_id, 4)
    assert [value["sequence"] for _, value in said] == [1, 2, 3, 4]
    assert [attributes["ce_type"].split(".")[3] for attributes, _ in said] == [
        "received", "routed", "question-asked", "question-answered",
    ]  # fmt: skip


async def test_an_agent_finds_the_caller_with_a_token_of_the_provider(stack: Any, site: Any, make: Any) -> None:
    one = now_made(make, 102)
    await send(stack, "intake", filed(stack, one, contact={"name": "Ali Tazi", "phone": "0661234567"}))
    tracking = stack.url("tracking")
    secret = stack.secrets.oidc_clients["tracking"]
    token = await asyncio.to_thread(
        token_for, stack.url("identity"), "tracking", secret, f"{tracking}/login/callback", "agent@chikaya.local"
    )
    headers = {"Authorization": f"Bearer {token}"}

    async def find() -> Any:
        return await site.get("/v1/complaints", params={"telephone": "0661234567"}, headers=headers)

    found = await until(find, lambda r: r.status_code != 200 or r.json()["complaints"])
    assert [row["reference"] for row in found.json()["complaints"]] == [one.reference]
    assert (await site.get("/v1/complaints", params={"telephone": "0661234567"})).status_code == 401
    shown = await site.get(f"/v1/complaints/{one.reference}", headers=headers)
    assert shown.json()["contact"]["name"] == "Ali Tazi"


async def test_the_clock_runs_by_itself(stack: Any, site: Any, make: Any) -> None:
    old = now_made(make, 103)
    old.start = old.day(-80)
    await send(stack, "intake", filed(stack, old))
    async with reading(stack, "notification", "complaints.lifecycle.v1") as lifecycle:
        said = await records(lifecycle, old.complaint_id, 3)
        assert sorted(value.get("threshold", "") for _, value in said) == ["", "answer-breached", "relay-breached"]
        assert await records(lifecycle, old.complaint_id, 1, within=4) == []


async def test_kill_9_loses_nothing_and_repeats_nothing_new(stack: Any, make: Any) -> None:
    """200 complaints withdrawn, answered early or routed, while tracking is killed twice."""
    people = [now_made(make, 1_000 + n) for n in range(200)]
    intake = [filed(stack, one) for one in people]
    routing = [one.routed("habous", at=0) for one in people]
    desk = [one.answer("habous", topic="desk") for one in people]

    async def killing() -> Any:
        for _ in range(2):
            await asyncio.sleep(0.7)
            await asyncio.to_thread(stack.kill, "tracking")

    await asyncio.gather(
        send(stack, "desk", *desk), send(stack, "routing", *routing), send(stack, "intake", *intake), killing()
    )
    wanted = {one.complaint_id for one in people}
    last: dict[str, int] = {}
    copies: dict[str, set[str]] = {}
    async with reading(stack, "notification", "complaints.lifecycle.v1") as lifecycle:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(last) < len(people):
            for batch in (await lifecycle.getmany(timeout_ms=200)).values():
                for one in batch:
                    key = one.key.decode()
                    if key not in wanted:
                        continue
                    value = json.loads(one.value)
                    copies.setdefault(f"{key}/{value['sequence']}", set()).add(dict(one.headers)["ce_id"].decode())
                    if value["state"] == "answered":
                        last[key] = value["sequence"]
    assert len(last) == len(people)
    assert set(last.values()) == {3}
    assert len(copies) == 3 * len(people)
    assert all(len(ids) == 1 for ids in copies.values())
