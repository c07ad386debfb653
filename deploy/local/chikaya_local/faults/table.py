"""The faults: each does its harm and returns the moment from which recovery is measured."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from aiokafka.structs import RecordMetadata
from chikaya_contracts import topics
from chikaya_contracts.messages.administration import Acknowledge
from chikaya_contracts.messages.channel import ChannelSubmission

from chikaya_local.faults.parties import KIOSK, SERVICES, Parties
from chikaya_local.faults.witness import Place
from chikaya_local.stack import Stack

SERVICE_LIMIT_S, BROKER_LIMIT_S = 15.0, 30.0
FURTHER_INSTANCE_S = 8.0
ONE_BROKER_LESS_S = 15.0


@dataclass
class Scene:
    """What a fault may use. `spoiled` collects where undecodable records were written."""

    stack: Stack
    parties: Parties
    rng: random.Random
    spoiled: set[Place]

    async def stop(self, *names: str) -> None:
        """SIGTERM, and waits for the end."""
        await asyncio.to_thread(self.stack.stop, *names)


@dataclass(frozen=True)
class Fault:
    """A row of the table.

    Args:
        strike: does the harm; returns the moment (`time.monotonic`) at which it ended: the process was dead, the broker
            went on, the last bad record was written.
        mend: puts right what is not mended by itself, after recovery.
        limit_s: recovery that the project aims for.
        nodes: brokers of the stack.
    """

    name: str
    strike: Callable[[Scene], Awaitable[float]]
    mend: Callable[[Scene], Awaitable[None]] | None = None
    limit_s: float = SERVICE_LIMIT_S
    nodes: int = 1


def kill(name: str, *, limit_s: float = SERVICE_LIMIT_S) -> Fault:
    """`kill -9`; supervision starts the process again."""

    async def strike(scene: Scene) -> float:
        await asyncio.to_thread(scene.stack.kill, name)
        return monotonic()

    return Fault(f"kill -9 {name}", strike, limit_s=limit_s)


def restart(name: str) -> Fault:
    """SIGTERM; when the process has left, it is started again."""

    async def strike(scene: Scene) -> float:
        await scene.stop(name)
        ended = monotonic()
        await asyncio.to_thread(scene.stack.start, name)
        return ended

    return Fault(f"SIGTERM {name}, start", strike)


def one_more_and_less(name: str) -> Fault:
    """A second instance joins, works for a while, and leaves: two rebalances."""

    async def strike(scene: Scene) -> float:
        second = f"{name}:2"
        await asyncio.to_thread(scene.stack.start, second)
        await asyncio.to_thread(scene.stack.wait_ready, second)
        await asyncio.sleep(FURTHER_INSTANCE_S * scene.rng.uniform(0.5, 1.0))
        await scene.stop(second)
        return monotonic()

    return Fault(f"add and remove an instance of {name}", strike)


def pause_broker(seconds: float) -> Fault:
    """SIGSTOP, SIGCONT."""

    async def strike(scene: Scene) -> float:
        await asyncio.to_thread(scene.stack.pause, "kafka")
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(scene.stack.resume, "kafka")
        return monotonic()

    return Fault(f"SIGSTOP the broker for {seconds:g} s", strike, limit_s=BROKER_LIMIT_S)


def undecodable(count: int) -> Fault:
    """An external channel and an administration write what nobody can read, `count` records each."""

    async def strike(scene: Scene) -> float:
        slug = scene.rng.choice(sorted(scene.parties.administrations))
        outbox, submissions = topics.OUTBOX.named(slug).name, topics.CHANNEL_SUBMISSIONS.named(KIOSK).name
        written = await asyncio.gather(
            *(scene.parties.administrations[slug].send(outbox, *_spoiled(n, Acknowledge.TYPE)) for n in range(count)),
            *(scene.parties.kiosk.send(submissions, *_spoiled(n, ChannelSubmission.TYPE)) for n in range(count)),
        )
        scene.spoiled |= {_place(record) for record in written}
        return monotonic()

    return Fault(f"{2 * count} undecodable records on two topics", strike)


def _place(record: RecordMetadata) -> Place:
    return Place(record.topic, record.partition, record.offset)


def _spoiled(number: int, type_: str) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """(key, value, headers): no headers at all, then a value that is no JSON, then one of another shape, by turns."""
    values = (b"\xff\xfe\x00 bad", b'{"complaint_id": ', b'{"nothing": "of the schema"}')
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"spoiled-{number}".encode()),
        ("ce_source", b"/faults"),
        ("ce_type", type_.encode()),
        ("ce_time", b"2026-01-01T00:00:00+00:00"),
    ]
    return f"spoiled-{number}".encode(), values[number % 3], headers if number % 3 else []


def _servers(stack: Stack) -> list[str]:
    return [*stack.kafka.names, "mongo"]


async def _restart_everything(scene: Scene) -> float:
    everything = [*scene.stack.names, *_servers(scene.stack)]
    await scene.stop(*everything)
    ended = monotonic()
    await asyncio.to_thread(scene.stack.start, *everything)
    return ended


async def _power_cut(scene: Scene) -> float:
    for name in [*_servers(scene.stack), *scene.stack.names]:
        await asyncio.to_thread(scene.stack.kill, name)
    return monotonic()


async def _one_broker_less(scene: Scene) -> float:
    await asyncio.to_thread(scene.stack.kill, scene.rng.choice(scene.stack.kafka.names), stay_down=True)
    return monotonic()


async def _all_brokers_back(scene: Scene) -> None:
    await asyncio.sleep(ONE_BROKER_LESS_S)
    await asyncio.to_thread(scene.stack.start, *scene.stack.kafka.names)


EVERYTHING = Fault("restart everything at once", _restart_everything, limit_s=BROKER_LIMIT_S)
POWER_CUT = Fault("kill -9 everything at once", _power_cut, limit_s=BROKER_LIMIT_S)
ONE_OF_THREE = Fault("kill -9 one of three brokers", _one_broker_less, _all_brokers_back, BROKER_LIMIT_S, nodes=3)

LONG: Sequence[Fault] = (
    *(kill(name) for name in SERVICES),
    kill("kafka", limit_s=BROKER_LIMIT_S),
    kill("mongo", limit_s=BROKER_LIMIT_S),
    *(restart(name) for name in SERVICES),
    one_more_and_less("routing"),
    one_more_and_less("tracking"),
    pause_broker(30),
    undecodable(300),
    EVERYTHING,
    POWER_CUT,
    ONE_OF_THREE,
)
SHORT: Sequence[Fault] = (kill("tracking"), kill("kafka", limit_s=BROKER_LIMIT_S), pause_broker(5), undecodable(30))
