"""Intake alone: requests a second beside F1, a bare route on the same machine with the same load."""

import json
from dataclasses import asdict

from . import commands, load
from .figures import Part, Plot, Table
from .journeys import Unlike
from .system import FLOOR_TOPIC, Options, System, ready_within

CONNECTIONS = (32, 256)
REQUESTS = 6_000
WARM = 500
RECORDED = 1_500
FLOOR_PORT = "desk"
"""F1 listens where the desk would, which does not run here."""


def _load(system: System, port: str, connections: int, requests: int, first: int) -> load.Found:
    orders = load.Orders(
        "127.0.0.1",
        system.stack.ports.of(port),
        system.stack.secrets.channel_keys["app"],
        connections,
        requests,
        first,
    )
    return load.Found(**system.run("chikaya_local.bench.load", given=json.dumps(asdict(orders))))


def run(options: Options) -> Part:
    """Both numbers of connections.

    Raises:
        TookTooLong: a process was not ready.
        Unlike: intake did not accept everything.
    """
    with System.running("intake", options) as system:
        floors, found = {}, {}
        with system.beside(
            "floor",
            "chikaya_local.bench.floor_route",
            CHIKAYA_BENCH_PORT=str(system.stack.ports.of(FLOOR_PORT)),
            CHIKAYA_BENCH_TOPIC=FLOOR_TOPIC,
        ):
            ready_within(system.stack.ports.url(FLOOR_PORT))
            _load(system, FLOOR_PORT, CONNECTIONS[0], WARM, 0)
            for connections in CONNECTIONS:
                floors[connections] = _load(system, FLOOR_PORT, connections, options.count(REQUESTS), 0)
        system.start("intake")
        _load(system, "intake", CONNECTIONS[0], WARM, 0)
        first, cpu = WARM, {}
        watched = ("intake", *system.servers)
        for connections in CONNECTIONS:
            before = system.cpu_s(*watched)
            found[connections] = one = _load(system, "intake", connections, options.count(REQUESTS), first)
            cpu[connections] = {
                name: (value - before[name]) / one.requests * 1000 for name, value in system.cpu_s(*watched).items()
            }
            first += one.requests
            if set(one.statuses) != {"201"}:
                raise Unlike(f"intake answered {one.statuses}: not a measurement of accepting")
        system.stack.stop("intake")
        log = system.stack.directory / "commands.bson"
        system.start_through("intake", "chikaya_local.bench.commands", str(log), "chikaya_intake.app")
        system.stack.wait_ready("intake")
        _load(system, "intake", CONNECTIONS[-1], options.count(RECORDED), first)
        system.stack.stop("intake")
        seconds, operations = commands.replay(log, system.mongo_uri, "chikaya_bench_admin")
        mongo_per_s = options.count(RECORDED) / seconds
    ratios = {connections: found[connections].per_s / floors[connections].per_s for connections in CONNECTIONS}
    speeds = Table(
        "Intake: POST /v1/complaints",
        ("connections", "requests/s", "p50 ms", "p99 ms", "F1 requests/s", "F1 p50 ms", "F1 p99 ms", "ratio",
         "F3 complaints/s", "ms own", "ms mongo", "ms kafka"),
        tuple(
            (
                connections, one.per_s, one.p50_ms, one.p99_ms, floor.per_s, floor.p50_ms, floor.p99_ms,
                ratios[connections], mongo_per_s, cpu[connections].get("intake"), cpu[connections].get("mongo"),
                cpu[connections].get("kafka"),
            )
            for connections in CONNECTIONS
            for one, floor in [(found[connections], floors[connections])]
        ),
        "ratio: to F1 at the same number of connections; ms: processor time a request",
    )  # fmt: skip
    asked = Table(
        "What intake asks of its database (F3)",
        ("complaints", *commands.SHOWN),
        ((options.count(RECORDED), *(operations.get(kind, 0) for kind in commands.SHOWN)),),
        "insert: documents; update and delete: statements; other: commands",
    )
    plot = Plot(
        "Intake beside a bare route",
        "requests/s",
        tuple(f"{connections} connections" for connections in CONNECTIONS),
        {
            "intake": tuple(found[connections].per_s for connections in CONNECTIONS),
            "F1 bare route": tuple(floors[connections].per_s for connections in CONNECTIONS),
        },
    )
    figures = {
        "intake_ratio": round(min(ratios.values()), 3),
        "intake_per_s": round(max(one.per_s for one in found.values()), 1),
        "f1_per_s": round(max(one.per_s for one in floors.values()), 1),
    }
    return Part("intake", (speeds, asked), (plot,), figures)
