"""The whole pipeline on this machine, broker and database included: complaints and lifecycles a second, latency."""

import asyncio
import json
from dataclasses import dataclass

from . import wire, workload
from .figures import Cell, Part, Plot, Table, percentile
from .journeys import Journeys, Unlike
from .system import SERVICES, Options, System

WINDOWS = (64, 256, 1_024)
"""Complaints on their way at a time; raised for as long as that gives more a second."""
WORTH = 1.05
RAMP_S, MEASURED_S = 5.0, 20.0
RATES = (20, 50)
SHARE_OF_MAXIMUM = 0.8
TEXTS = 150
WARM = 16


async def sorted_texts(system: System, wanted: int = TEXTS) -> tuple[list[str], list[str]]:
    """Texts of the corpus that routing relays by itself, so many, and those on the way to them that need a person.

    Raises:
        Unlike: it relays too few of them.
    """
    pool = wire.Pool("127.0.0.1", system.stack.ports.of("routing"))
    relayed, triaged = list[str](), list[str]()
    for number, text in enumerate(workload.texts()):
        one = workload.submission(number)
        asked = {"text": one.text, "place": one.place and one.place.commune, "nature": one.nature}
        body = json.dumps(asked).encode()
        answer = await pool.ask(wire.request("POST", "127.0.0.1", "/v1/classify", {}, body))
        if answer.status != 200:
            raise Unlike(f"routing answered {answer.status} to a text of its corpus")
        outcome = json.loads(answer.body)["outcome"]
        (relayed if outcome == "routed" else triaged if outcome == "triage" else []).append(text)
        if len(relayed) == wanted:
            pool.close()
            return relayed, triaged
    raise Unlike(f"routing relays only {len(relayed)} texts of its corpus by itself")


@dataclass(frozen=True)
class Maximum:
    """What one window gave: complaints a second, seconds in which the services then did what they had left behind, and
    milliseconds of processor time a complaint, that included."""

    window: int
    per_s: float
    left_s: float
    cpu_ms: dict[str, float]


async def loaded(system: System, journeys: Journeys, window: int, seconds: float, *, whole: bool) -> Maximum:
    """Measures one window, from a system at rest to a system at rest.

    Raises:
        Unlike: see `Journeys.closed_loop`.
    """
    names = (*SERVICES, *system.servers)
    await system.settled()
    before = system.cpu_s(*names)
    per_s, filed = await journeys.closed_loop(window, RAMP_S, seconds, whole=whole)
    left_s = await system.settled()
    cpu = {name: (value - before[name]) / filed * 1000 for name, value in system.cpu_s(*names).items()}
    return Maximum(window, per_s, left_s, cpu)


async def maximum(system: System, journeys: Journeys, *, whole: bool) -> list[Maximum]:
    """Raises the window until more of it gives no more; all that was tried, the best last.

    Raises:
        Unlike: see `Journeys.closed_loop`.
    """
    found: list[Maximum] = []
    seconds = max(5.0, MEASURED_S * min(1.0, system.options.scale))
    for window in WINDOWS:
        found.append(await loaded(system, journeys, window, seconds, whole=whole))
        if len(found) > 1 and found[-1].per_s < WORTH * found[-2].per_s:
            break
    return sorted(found, key=lambda one: one.per_s)


def start(system: System) -> None:
    """Starts the four services."""
    system.stack.start(*SERVICES)
    system.stack.wait_ready(*SERVICES)


async def _run(system: System) -> Part:
    options, rows = system.options, list[tuple[Cell, ...]]()
    texts, _ = await sorted_texts(system)
    latencies: dict[float, tuple[list[float], list[float]]] = {}
    seconds = max(5.0, MEASURED_S * min(1.0, options.scale))
    async with Journeys(system, texts) as journeys:
        await journeys.together(WARM)
        for rate in RATES:
            await system.settled()
            latencies[rate] = await journeys.open_loop(rate, seconds)
        tried = await maximum(system, journeys, whole=False)
        at_most = SHARE_OF_MAXIMUM * tried[-1].per_s
        await system.settled()
        latencies[at_most] = await journeys.open_loop(at_most, seconds)
        whole = await maximum(system, journeys, whole=True)
        await journeys.check()
    for kind, found in (("filed, routed, dossier, visible", tried), ("whole lifecycle", whole)):
        rows += [
            (kind, one.window, one.per_s, one.left_s, *(one.cpu_ms.get(name) for name in (*SERVICES, "mongo", "kafka")))
            for one in sorted(found, key=lambda one: one.window)
        ]
    speeds = Table(
        "The whole pipeline, as fast as it goes",
        ("journey", "on their way", "a second", "s behind", *(f"ms {name}" for name in (*SERVICES, "mongo", "kafka"))),
        tuple(rows),
        f"completed a second over {seconds:.0f} s, a fixed number being on their way at any time; s behind: what the "
        "services still did afterwards; ms: processor time a complaint",
    )
    times = {
        f"{rate:.0f}/s": [percentile(values, share) * 1000 for values in found for share in (0.5, 0.99)]
        for rate, found in latencies.items()
    }
    latency = Table(
        "Latency, from the moment of filing",
        ("rate", "complaints", "receipt p50 ms", "receipt p99 ms", "visible p50 ms", "visible p99 ms"),
        tuple((f"{rate:.0f}/s", len(found[1]), *times[f"{rate:.0f}/s"]) for rate, found in latencies.items()),
        "at random moments (Poisson); visible: routed, the dossier in the inbox, the case shown so; the last row is "
        f"{SHARE_OF_MAXIMUM:.0%} of the maximum",
    )
    plot = Plot(
        "Latency to visible",
        "ms",
        tuple(times),
        {"p50": tuple(one[2] for one in times.values()), "p99": tuple(one[3] for one in times.values())},
    )
    return Part(
        "pipeline",
        (speeds, latency),
        (plot,),
        {
            "pipeline_per_s": round(tried[-1].per_s, 1),
            "lifecycles_per_s": round(whole[-1].per_s, 1),
            "p99_ms_at_50": round(percentile(latencies[50][1], 0.99) * 1000),
        },
    )


def run(options: Options) -> Part:
    """Everything, in one system.

    Raises:
        Unlike: the pipeline did not do what was measured.
    """
    with System.running("pipeline", options) as system, system.sink():
        start(system)
        return asyncio.run(_run(system))
