"""Two instances on a real broker: whoever joins, leaves or is killed, a submission is decided once."""

import asyncio
import os
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from chikaya_contracts import topics
from chikaya_contracts.envelope import encode
from chikaya_routing.adapters.mongo import MongoStore
from chikaya_routing.domain.catalogue import Edition, difference

OWN_SYSTEMS = ("cnss", "onee")
TEXTS = (
    "La CNSS ne me rembourse pas mon dossier de maladie depuis six mois, je suis assuré et personne ne répond.",
    "Coupure d'électricité depuis trois jours dans tout le quartier, l'ONEE ne répond pas au téléphone.",
    "Bonjour, merci de faire quelque chose pour moi.",
)


@asynccontextmanager
async def instance(settings: dict[str, str], port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A routing process, once it is ready; it is killed at the end."""
    environment = os.environ | settings | {"CHIKAYA_PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chikaya_routing.app", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            while not await _ready(http):
                await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


class Said:
    """What routing has published: (id, value) of every raw record, by complaint."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.decisions: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self.dossiers: dict[str, list[tuple[str, bytes]]] = defaultdict(list)

    async def until(self, complaints: Sequence[str], seconds: float = 90) -> None:
        """Reads until each of the complaints is decided."""
        async with asyncio.timeout(seconds):
            while any(one not in self.decisions for one in complaints):
                for partition, records in (await self._consumer.getmany(timeout_ms=200)).items():
                    kept = self.decisions if partition.topic == topics.ROUTED.name else self.dossiers
                    for record in records:
                        if record.key and (id := dict(record.headers).get("ce_id")):  # other tests leave rubbish
                            kept[record.key.decode()].append((id.decode(), record.value))


@asynccontextmanager
async def listening(broker: Any) -> AsyncIterator[Said]:
    """A reader of decisions and dossiers; others' are among them."""
    names = [topics.ROUTED.name, *(topics.INBOX.named(one).name for one in OWN_SYSTEMS)]
    consumer = AIOKafkaConsumer(*names, **broker.client("admin"), group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    try:
        yield Said(consumer)
    finally:
        await consumer.stop()


async def test_a_submission_is_decided_once_whoever_joins_leaves_or_is_killed(
    kafka: Any, mongo_uri: str, database: str, artefact: Path, free_port: Callable[[], int], make: Any
) -> None:
    store = MongoStore(mongo_uri, database)
    await store.keep_edition(
        difference(Edition(), {slug: make.listed(slug, own_system=True) for slug in OWN_SYSTEMS}).edition
    )
    settings = {
        **kafka.environment("routing"),
        "CHIKAYA_MONGO_URI": mongo_uri,
        "CHIKAYA_MONGO_DATABASE": database,
        "CHIKAYA_MODEL_PATH": str(artefact),
        "CHIKAYA_OIDC_CLIENT_SECRET": "c" * 32,
        "CHIKAYA_SESSION_SECRET": "s" * 32,
    }
    numbers = iter(range(1, 10_000))
    async with AsyncExitStack() as stack:
        said = await stack.enter_async_context(listening(kafka))
        producer = AIOKafkaProducer(**kafka.client("intake"), acks="all")
        await producer.start()
        stack.push_async_callback(producer.stop)

        async def submit(count: int) -> list[str]:
            events = [make.submitted(TEXTS[n % len(TEXTS)], n) for n, _ in zip(numbers, range(count), strict=False)]
            for event in events:
                topic, key, value, headers = encode(event)
                await producer.send(topic, value, key=key, headers=headers)
            await producer.flush()
            return [event.data.complaint_id for event in events]

        first = await stack.enter_async_context(instance(settings, free_port()))
        complaints = await submit(300)
        second = await stack.enter_async_context(instance(settings, free_port()))
        complaints += await submit(300)
        await said.until(complaints[:1])
        first.send_signal(signal.SIGKILL)
        await first.wait()
        complaints += await submit(300)
        await said.until(complaints)
        # What the dead one had not committed has been read again by now; a third one takes over from the second.
        await stack.enter_async_context(instance(settings, free_port()))
        second.send_signal(signal.SIGTERM)
        await second.wait()
        complaints += await submit(30)
        await said.until(complaints)

    decisions, dossiers = ([of[one] for one in complaints if one in of] for of in (said.decisions, said.dossiers))
    assert len(decisions) == len(complaints)
    assert all(len(set(copies)) == 1 for copies in (*decisions, *dossiers))
    kept = await store.known(complaints)
    assert Counter(len(one.decisions) for one in kept.values()) == {1: len(complaints)}
    routed = {id_ for id_, one in kept.items() if one.holders}
    assert len(dossiers) == len(routed) > 0
    await store.close()
