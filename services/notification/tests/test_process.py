"""The process on a real broker, database, mail server and SMS gateway: what citizens get, kill -9 included."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from chikaya_contracts.envelope import Event, encode
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_local.bootstrap import bring_up
from chikaya_local.login import token_for
from chikaya_local.programs import PROGRAMS
from chikaya_local.stack import Settings, Stack, free_ports
from chikaya_notification.adapters.mongo import MongoNotification
from chikaya_notification.sending import UNRECORDED

SENT = "ma.chikaya.notice.sent.v1"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, the database, the identity provider, the inbox and notification."""
    names = ("identity", "inbox", "notification")
    programs = tuple(
        replace(program, staff=program.staff or program.name == "notification")
        for program in PROGRAMS
        if program.name in names
    )
    more = {"PORTAL_URL": "https://www.chikaya.example", "CLAIM_S": "10"}
    settings = Settings(more={"notification": more})
    stack = Stack(tmp_path_factory.mktemp("stack"), free_ports(24_100, 24_499), settings, programs=programs)
    try:
        bring_up(stack)
        yield stack
    finally:
        stack.stop_all()


@pytest.fixture
async def inbox(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.url("inbox"), timeout=10) as client:
        await client.delete("/api/messages")
        await client.put("/api/behaviour", json={})
        yield client


@pytest.fixture
async def site(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.url("notification"), timeout=10) as client:
        yield client


def client(stack: Stack, principal: str) -> dict[str, Any]:
    env = stack.kafka_env(principal)
    return {
        "bootstrap_servers": env["KAFKA_BOOTSTRAP"], "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": env["KAFKA_USER"], "sasl_plain_password": env["KAFKA_PASSWORD"],
    }  # fmt: skip


async def publish(stack: Stack, principal: str, *events: Event[Any]) -> None:
    producer = AIOKafkaProducer(**client(stack, principal), acks="all")
    await producer.start()
    try:
        for event in events:
            topic, key, value, headers = encode(event)
            await producer.send(topic, value, key=key, headers=headers)
        await producer.flush()
    finally:
        await producer.stop()


async def outcomes(stack: Stack, complaint_ids: set[str], count: int, within: float = 30) -> list[tuple[str, Any]]:
    """(type, value) of at least `count` outcomes of these complaints, each event id once."""
    consumer = AIOKafkaConsumer("notification.outcomes.v1", **client(stack, "operator"), auto_offset_reset="earliest")
    found: dict[str, tuple[str, Any]] = {}
    await consumer.start()
    try:
        async with asyncio.timeout(within):
            while len(found) < count:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    for record in batch:
                        if record.key.decode() in complaint_ids:
                            headers = {name: text.decode() for name, text in record.headers}
                            found[headers["ce_id"]] = (headers["ce_type"], json.loads(record.value))
    finally:
        await consumer.stop()
    return list(found.values())


async def until(ask: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool], within: float = 30) -> Any:
    """What `ask` gives once it `holds`."""
    async with asyncio.timeout(within):
        while not holds(answer := await ask()):
            await asyncio.sleep(0.1)
    return answer


async def messages(inbox: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = 0
    while page := (await inbox.get("/api/messages", params={"after": after, "limit": 1000})).json()["messages"]:
        found += page
        after = page[-1]["key"]
    return found


async def test_a_citizen_is_told_by_mail_and_sms_in_their_language(
    stack: Stack, inbox: httpx.AsyncClient, submitted: Any, happened: Any
) -> None:
    cnss = AdministrationListed(
        slug="cnss",
        name_fr="Caisse nationale",
        name_ar="الصندوق الوطني",
        kind="establishment",
        own_system=True,
        version=1,
    )
    await publish(stack, "routing", Event("names", "/routing", submitted().time, cnss, cnss.TOPIC.name))
    database = MongoNotification(stack.mongo.uri("notification"), "notification")
    await until(lambda: database.administrations.named(["cnss"]), bool)
    await database.close()
    # The history first, and the contact after it.
    await publish(stack, "tracking", happened("received", 1, "a1", language="ar"), happened("routed", 2, "a1"))
    await publish(stack, "intake", submitted("a1", "ar", email="a1@example.com", phone="0600000001"))
    got = await until(lambda: messages(inbox), lambda found: len(found) == 4)
    assert Counter(one["recipient"] for one in got) == {"a1@example.com": 2, "+212600000001": 2}
    [relayed] = [one for one in got if one["kind"] == "email" and "الصندوق الوطني" in one["text"]]
    assert 'dir="rtl"' in relayed["html"]
    assert "https://www.chikaya.example/follow?reference=" in relayed["text"]
    assert "1 ماي 2026" in relayed["text"]
    said = await outcomes(stack, {"a1"}, 4)
    assert Counter((type_, value["notice"], value["by"]) for type_, value in said) == {
        (SENT, notice, by): 1 for notice in ("receipt", "relayed") for by in ("email", "sms")
    }
    assert not any("example.com" in json.dumps(value) or "0600000001" in json.dumps(value) for _, value in said)


async def test_staff_see_what_was_sent_and_nobody_else_does(
    stack: Stack, site: httpx.AsyncClient, inbox: httpx.AsyncClient, submitted: Any, happened: Any
) -> None:
    await publish(stack, "intake", submitted("b1", email="b1@example.com"))
    await publish(stack, "tracking", happened("rejected", 1, "b1", reason="private"))
    await outcomes(stack, {"b1"}, 2)
    assert (await site.get("/v1/notices/b1")).status_code == 401

    async def token(sub: str) -> dict[str, str]:
        # Notification signs nobody in: tokens come from a site that does.
        secret, callback = stack.secrets.oidc_clients["tracking"], f"{stack.ports.url('tracking')}/login/callback"
        return {
            "Authorization": "Bearer "
            + await asyncio.to_thread(token_for, stack.url("identity"), "tracking", secret, callback, sub)
        }

    assert (await site.get("/v1/notices/b1", headers=await token("triage@chikaya.local"))).status_code == 403
    answer = await site.get("/v1/notices/b1", headers=await token("agent@chikaya.local"))
    shown = {one["by"]: one for one in answer.json()["notices"]}
    assert (shown["email"]["state"], shown["email"]["notice"], shown["email"]["attempts"]) == ("sent", "rejected", 1)
    assert (shown["sms"]["state"], shown["sms"]["reason"]) == ("skipped", "no-address")
    assert "example.com" not in answer.text
    none = await site.get("/v1/notices/unknown", headers=await token("operator@chikaya.local"))
    assert none.json() == {"complaint_id": "unknown", "notices": []}


async def test_a_refusal_is_an_outcome_and_servers_that_are_away_lose_nothing(
    stack: Stack, site: httpx.AsyncClient, inbox: httpx.AsyncClient, submitted: Any, happened: Any
) -> None:
    await inbox.put("/api/behaviour", json={"smtp": "refuse", "sms": "unavailable"})
    await publish(stack, "intake", submitted("d1", email="d1@example.com", phone="0600000002"))
    await publish(stack, "tracking", happened("received", 1, "d1"))
    [(type_, value)] = await outcomes(stack, {"d1"}, 1)
    assert (type_, value["by"], value["reason"]) == (
        "ma.chikaya.notice.failed.v1", "email", "the mail server answered 550 5.1.1"
    )  # fmt: skip
    ready = await until(lambda: site.get("/readyz"), lambda answer: "sms" in answer.json().get("notes", {}))
    assert ready.status_code == 200
    await inbox.put("/api/behaviour", json={})
    said = await outcomes(stack, {"d1"}, 2)
    assert [value["attempts"] for type_, value in said if type_ == SENT] == [1]


async def test_kill_9_loses_no_notice_and_marks_every_repeat(
    stack: Stack, inbox: httpx.AsyncClient, submitted: Any, happened: Any
) -> None:
    """200 complaints, two notices each by two means, while notification is killed twice."""
    ids = [f"k{number}" for number in range(200)]
    contacts = [submitted(id, email=f"{id}@example.com", phone=f"06{number:08}") for number, id in enumerate(ids)]
    history = [happened(name, sequence, id) for sequence, name in ((1, "received"), (2, "routed")) for id in ids]

    async def taken(count: int) -> None:
        while len(await messages(inbox)) < count:
            await asyncio.sleep(0.02)

    async def killing() -> None:
        for count in (40, 240):
            await taken(count)
            await asyncio.to_thread(stack.kill, "notification")

    await asyncio.gather(publish(stack, "intake", *contacts), publish(stack, "tracking", *history), killing())
    # What was claimed by a process that was killed is due again when its claim ends.
    said = await outcomes(stack, set(ids), 800, within=90)
    assert Counter(type_ for type_, _ in said) == {SENT: 800}
    got = await messages(inbox)
    first_copies = [one for one in got if not one["repeat"]]
    assert len(first_copies) == 800
    assert Counter(one["recipient"] for one in first_copies).most_common(1)[0][1] == 2
    assert len(got) - 800 <= 2 * 2 * UNRECORDED, "at most what was not recorded when it was killed"
