"""Routing, tracking and notification, each alone: its topics are filled at once, and the time to no lag is taken.

Beside each, in the same system: F2 over the same messages, and F3, the very commands that it has sent to its database,
which are recorded as it works (that costs it some 20 µs a command).
"""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message

from . import commands, workload
from .figures import Part, Plot, Table
from .journeys import Unlike
from .system import FLOOR_TOPIC, Options, System

WARM, MEASURED = 60, 3_000
INBOX = topics.INBOX.named(topics.DESK).name


@dataclass(frozen=True)
class Bench:
    """One service alone. `stages` are topics that are filled and drained one after the other, as in life; `out` are
    where it writes; `through` is a module that runs it instead of its own."""

    name: str
    service: str
    stages: tuple[tuple[str, ...], ...]
    out: tuple[str, ...]
    through: str = ""


BENCHES = (
    Bench("routing", "routing", (("submitted",),), (topics.ROUTED.name, INBOX)),
    Bench(
        "routing, classification known",
        "routing",
        (("submitted",),),
        (topics.ROUTED.name, INBOX),
        "chikaya_local.bench.remembered",
    ),
    Bench(
        "tracking",
        "tracking",
        (("submitted", "routed"), ("decisions",), ("rated", "outcomes")),
        (topics.LIFECYCLE.name, INBOX),
    ),
    Bench("notification", "notification", (("submitted", "lifecycle"),), (topics.OUTCOMES.name,)),
)


@dataclass(frozen=True)
class Alone:
    """What was found of one service: records a second, its floors', and milliseconds of processor time a record."""

    bench: Bench
    records: int
    per_s: float
    loop_per_s: float
    mongo_per_s: float
    cpu_ms: dict[str, float]
    operations: dict[str, int]
    sent: int
    """Records that those operations were for: the first few are among them."""

    @property
    def ratio(self) -> float:
        """To the slower of its floors."""
        return self.per_s / min(self.loop_per_s, self.mongo_per_s)


def measure(bench: Bench, options: Options) -> Alone:
    """One service, in a system of its own.

    Raises:
        TookTooLong: it did not read what there was.
        Unlike: it did not do what was measured.
    """
    with System.running(bench.service, options) as system:
        key = system.stack.secrets.verifier_key.encode()
        lives = [workload.life(number, key) for number in range(WARM + options.count(MEASURED))]
        log, seconds, records = system.stack.directory / "commands.bson", 0.0, 0
        cpu, out = dict[str, float](), 0
        with system.sink() if bench.service == "notification" else nullcontext():
            for number, stage in enumerate(bench.stages):
                part = log.with_suffix(f".{number}")
                count, took, used, out = _work_off(system, bench, stage, lives, str(part))
                records, seconds = records + count, seconds + took
                cpu = {name: cpu.get(name, 0.0) + value for name, value in used.items()}
                with log.open("ab") as whole:
                    whole.write(part.read_bytes())
        told = sum(len(life.outcomes) for life in lives)
        if bench.service == "notification" and out != told:
            raise Unlike(f"{told} outcomes of notices were to be published, and {out} were")
        names = sorted({name for stage in bench.stages for name in stage})
        loop = _loop_floor(system, _topics(_events(lives[:1], names)), records)
        sent = len(_events(lives, names))
        mongo_s, operations = commands.replay(log, system.mongo_uri, "chikaya_bench_admin")
        return Alone(
            bench,
            records,
            records / seconds,
            loop,
            sent / mongo_s,
            {name: value / records * 1000 for name, value in cpu.items()},
            operations,
            sent,
        )


def _events(lives: Sequence[workload.Life], names: Sequence[str]) -> list[Event[Message]]:
    """The messages of that kind of all complaints, as they come: one complaint beside the others."""
    found: list[Event[Message]] = []
    for name in names:
        for life in lives:
            one = getattr(life, name)
            found += one if isinstance(one, tuple) else (one,)
    return found


def _topics(events: Sequence[Event[Message]]) -> list[str]:
    return sorted({event.topic for event in events})


def _work_off(
    system: System, bench: Bench, stage: Sequence[str], lives: Sequence[workload.Life], record: str
) -> tuple[int, float, dict[str, float], int]:
    """Starts the service, and lets it work off a stage's messages, those of a few complaints first: when they are done,
    it has joined its groups.

    Returns:
        Records, seconds, seconds of processor time of each process in that time, all but for the first few complaints;
        and how many records came out in all.
    """
    first, events = _events(lives[:WARM], stage), _events(lives[WARM:], stage)
    module = bench.through or system.stack.program(bench.service)[0].module
    system.start_through(bench.service, "chikaya_local.bench.commands", record, module)
    system.stack.wait_ready(bench.service)
    asyncio.run(system.worked_off(first, bench.service, bench.out))
    watched = (bench.service, *system.servers)
    before = system.cpu_s(*watched)
    drained = asyncio.run(system.worked_off(events, bench.service, bench.out))
    after = system.cpu_s(*watched)
    system.stack.stop(bench.service)
    return len(events), drained.seconds, {name: after[name] - before[name] for name in before}, drained.out


def _loop_floor(system: System, names: Sequence[str], count: int) -> float:
    found = system.run("chikaya_local.bench.floor_loop", str(count), FLOOR_TOPIC, *names)
    return float(found["records"] / found["seconds"])


def run(options: Options, only: Sequence[str] = ()) -> Part:
    """All of them, or those of some services."""
    found = [measure(bench, options) for bench in BENCHES if not only or bench.service in only]
    rows = tuple(
        (
            one.bench.name,
            one.records,
            one.per_s,
            one.loop_per_s,
            one.mongo_per_s,
            one.ratio,
            one.cpu_ms.get(one.bench.service),
            one.cpu_ms.get("mongo"),
            one.cpu_ms.get("kafka"),
        )
        for one in found
    )
    speeds = Table(
        "Each service alone, from full topics to no lag",
        ("service", "records", "records/s", "F2 records/s", "F3 records/s", "ratio", "ms own", "ms mongo", "ms kafka"),
        rows,
        "ratio: to the slower floor; ms: processor time a record",
    )
    operations = Table(
        "What each asks of its database (F3)",
        ("service", "records", *commands.SHOWN),
        tuple((one.bench.name, one.sent, *(one.operations.get(kind, 0) for kind in commands.SHOWN)) for one in found),
        "insert: documents; update and delete: statements; other: commands",
    )
    by_name = {one.bench.name: one for one in found}
    figures = {
        f"{name}_ratio": round(one.ratio, 3)
        for name, key in (
            ("routing", "routing, classification known"),
            ("tracking", "tracking"),
            ("notification", "notification"),
        )
        if (one := by_name.get(key))
    }
    if with_model := by_name.get("routing"):
        figures["routing_classifying_ratio"] = round(with_model.ratio, 3)
    plot = Plot(
        "Each service alone beside its floors",
        "records/s",
        tuple(one.bench.name for one in found),
        {
            "service": tuple(one.per_s for one in found),
            "F2 loop": tuple(one.loop_per_s for one in found),
            "F3 database": tuple(one.mongo_per_s for one in found),
        },
    )
    return Part("services", (speeds, operations), (plot,), figures)
