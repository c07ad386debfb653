"""Memory of each process at rest and under load, how soon each is ready, and how long a warm `make up` takes.

Always with the local database: it is what `make up` starts.
"""

import asyncio
import os
import shutil
import time

from chikaya_local.bootstrap import bring_up
from chikaya_local.demonstration import demonstrate
from chikaya_local.stack import Settings, Stack, free_ports

from .figures import Part, Plot, Table
from .journeys import Journeys
from .pipeline import sorted_texts
from .system import HOME, NO_LIMIT, PORTS, Options, System, ready_within

RATE, LOADED_S = 20.0, 15.0
WARM_UP_WITHIN_S, READY_WITHIN_S = 20.0, 2.0
"""What is aimed at."""


async def _load(system: System) -> None:
    texts, _ = await sorted_texts(system, 100)
    async with Journeys(system, texts) as journeys:
        await journeys.open_loop(RATE, LOADED_S * min(1.0, system.options.scale), whole=True)


def run(options: Options) -> Part:
    """All of it, in one directory that is removed at the end.

    Raises:
        CannotStart: something is in the way.
    """
    directory, local = HOME / f"footprint-{os.getpid()}", Options(options.scale, options.growth, mongo_uri="")
    settings = Settings(more={"routing": {"CLASSIFY_PER_MINUTE": NO_LIMIT}}, log_level="WARNING")
    ports = free_ports(*PORTS)

    def stack() -> Stack:
        return Stack(directory, ports, settings)

    seconds = {}
    try:
        for when in ("new", "warm"):
            running, begun = stack(), time.monotonic()
            try:
                bring_up(running, demonstrate=demonstrate)
                seconds[when] = time.monotonic() - begun
            finally:
                if when == "new":
                    running.stop_all()
        system = System(running, local)
        names = (*running.names, *system.servers)
        at_rest = system.memory_mb(*names)
        asyncio.run(_load(system))
        loaded = system.memory_mb(*names)
        ready = {}
        for name in running.names:
            running.stop(name)
            running.start(name)
            ready[name] = ready_within(running.url(name))
    finally:
        running.stop_all()
        shutil.rmtree(directory, ignore_errors=True)
    memory = Table(
        "Each process",
        ("process", "MB at rest", "MB under load", "seconds to ready"),
        (
            *((name, at_rest.get(name), loaded.get(name), ready.get(name)) for name in names),
            ("all", sum(at_rest.values()), sum(loaded.values()), None),
        ),
        f"memory of that process alone (USS), and after whole lifecycles at {RATE:.0f}/s; aim: ready within "
        f"{READY_WITHIN_S:.0f} s, with servers up",
    )
    up = Table(
        "make up",
        ("", "seconds"),
        (("a new directory, nothing to fetch", seconds["new"]), ("warm", seconds["warm"])),
        f"aim: warm within {WARM_UP_WITHIN_S:.0f} s",
    )
    plot = Plot(
        "Memory of each process",
        "MB",
        names,
        {name: tuple(found.get(one, 0.0) for one in names) for name, found in (("rest", at_rest), ("load", loaded))},
    )
    return Part(
        "footprint",
        (memory, up),
        (plot,),
        {"make_up_warm_s": round(seconds["warm"], 1), "slowest_start_s": round(max(ready.values()), 2)},
    )
