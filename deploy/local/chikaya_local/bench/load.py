"""A process that files complaints as fast as they are taken, over a number of kept connections.

Reads its orders as JSON on standard input, and writes what it found as one line of JSON.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from chikaya_contracts.ids import new_id

from . import wire, workload
from .figures import percentile


@dataclass(frozen=True)
class Orders:
    """What is to be filed, where. `first` numbers the first complaint: no two loads send the same one."""

    host: str
    port: int
    key: str
    connections: int
    requests: int
    first: int


@dataclass(frozen=True)
class Found:
    """Requests a second from the first to the last answer; milliseconds of one request; how often each status."""

    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    statuses: dict[str, int]


def requests(orders: Orders) -> list[bytes]:
    """All requests as bytes, each with a body and an `Idempotency-Key` of its own."""
    common = {"X-API-Key": orders.key, "Connection": "keep-alive"}
    return [
        wire.request("POST", orders.host, "/v1/complaints", {**common, "Idempotency-Key": new_id()}, body)
        for body in itertools.islice(workload.bodies(orders.first), orders.requests)
    ]


async def run(orders: Orders) -> Found:
    """Files everything.

    Raises:
        ConnectionError: the server is not there, or hung up.
    """
    todo: Iterator[bytes] = iter(requests(orders))
    seconds: list[float] = []
    statuses: Counter[str] = Counter()
    connections = [await wire.connect(orders.host, orders.port) for _ in range(orders.connections)]

    async def file(connection: wire.Connection) -> None:
        for one in todo:
            asked = time.perf_counter()
            answer = await connection.ask(one)
            seconds.append(time.perf_counter() - asked)
            statuses[str(answer.status)] += 1

    begun = time.perf_counter()
    await asyncio.gather(*map(file, connections))
    took = time.perf_counter() - begun
    for connection in connections:
        connection.close()
    p50, p99 = (percentile(seconds, share) * 1000 for share in (0.5, 0.99))
    return Found(len(seconds), len(seconds) / took, p50, p99, dict(statuses))


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(run(Orders(**json.load(sys.stdin)))))))
