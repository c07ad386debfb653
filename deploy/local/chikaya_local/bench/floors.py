"""The floors as absolute rates beside those that were measured on a like machine: a floor far under them is broken.

Here the floors run on 1 kB of plain JSON, as those did (`shared/tools/README.md`); the floors that ratios are taken
to run on this project's own messages, beside what they are compared with.
"""

import asyncio
import json
import time
from dataclasses import asdict

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from . import load
from .figures import Part, Table
from .system import FLOOR_TOPIC, Options, System, ready_within

SENT, ONE_BY_ONE, ROUTE_REQUESTS, ROUTE_CONNECTIONS = 60_000, 8_000, 8_000, 64
RECORD = json.dumps({"text": "x" * 980}).encode()
LIKE = {
    "aiokafka send, gathered by 1,000": 57_900,
    "aiokafka send_and_wait, one by one": 3_800,
    "aiokafka consume, getmany(500)": 72_300,
    "FastAPI route with one awaited acks=all send": 3_900,
}
"""Messages or requests a second on a like machine."""
BROKEN_UNDER = 0.7


async def _kafka(system: System, options: Options) -> dict[str, float]:
    sent, alone = options.count(SENT), options.count(ONE_BY_ONE)
    found = {}
    async with AIOKafkaProducer(**system.kafka(), acks="all", max_batch_size=256 * 1024) as producer:
        begun = time.perf_counter()
        for start in range(0, sent, 1_000):
            await asyncio.gather(*[await producer.send(FLOOR_TOPIC, RECORD) for _ in range(min(1_000, sent - start))])
        found["aiokafka send, gathered by 1,000"] = sent / (time.perf_counter() - begun)
        begun = time.perf_counter()
        for _ in range(alone):
            await producer.send_and_wait(FLOOR_TOPIC, RECORD)
        found["aiokafka send_and_wait, one by one"] = alone / (time.perf_counter() - begun)
    read, begun = 0, 0.0
    async with AIOKafkaConsumer(
        FLOOR_TOPIC, **system.kafka(), group_id="bench.floors", auto_offset_reset="earliest"
    ) as consumer:
        while read < sent + alone:
            polled = await consumer.getmany(max_records=500, timeout_ms=1_000)
            begun = begun or time.perf_counter()
            read += sum(map(len, polled.values()))
        found["aiokafka consume, getmany(500)"] = read / (time.perf_counter() - begun)
    return found


def run(options: Options) -> Part:
    """All of them.

    Raises:
        TookTooLong: the bare route was not ready.
    """
    with System.running("floors", options) as system:
        found = asyncio.run(_kafka(system, options))
        port = system.stack.ports.of("desk")
        env = {"CHIKAYA_BENCH_PORT": str(port), "CHIKAYA_BENCH_TOPIC": FLOOR_TOPIC}
        with system.beside("floor", "chikaya_local.bench.floor_route", **env):
            ready_within(system.stack.ports.url("desk"))
            orders = load.Orders("127.0.0.1", port, "", ROUTE_CONNECTIONS, options.count(ROUTE_REQUESTS), 0)
            route = system.run("chikaya_local.bench.load", given=json.dumps(asdict(orders)))
        found["FastAPI route with one awaited acks=all send"] = route["per_s"]
    rows = tuple(
        (name, found[name], like, found[name] / like, "" if found[name] >= BROKEN_UNDER * like else "BROKEN")
        for name, like in LIKE.items()
    )
    table = Table(
        "Floors as absolute rates",
        ("loop", "here /s", "like machine /s", "share", ""),
        rows,
        f"under {BROKEN_UNDER:.0%} on like hardware: the floor is broken, or the machine is busy; the route validates "
        "a complaint, theirs did not",
    )
    return Part("floors", (table,), (), {"floors": {name: round(value) for name, value in found.items()}})
