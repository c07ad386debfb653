"""Routing with one, two and four instances, and what one partition gives: what a larger country needs."""

import asyncio

from chikaya_contracts import topics

from . import workload
from .figures import Part, Plot, Table
from .system import Options, System

INSTANCES = (1, 2, 4)
WARM, MEASURED, ON_ONE_PARTITION = 60, 2_400, 600
RECORD_MONTH = 342_115
"""Complaints in the month that had most, in 2020."""
TIMES = 10
DAYS, SHARE_OF_BUSIEST_HOUR = 31, 0.2
"""A month's days; what share of a day comes in its busiest hour, taken high: evenly it would be 0.04."""


def _drain(system: System, instances: int, first: int, count: int, partition: int | None) -> tuple[float, float]:
    """Records a second, and seconds of processor time of all instances together for each second."""
    key = system.stack.secrets.verifier_key.encode()
    events = [workload.life(number, key).submitted for number in range(first, first + count)]
    few = [workload.life(first + count + number, key).submitted for number in range(WARM)]
    names = ["routing", *(f"routing:{number}" for number in range(2, instances + 1))]
    system.stack.start(*names)
    system.stack.wait_ready(*names)
    asyncio.run(system.worked_off(few, "routing", [topics.ROUTED.name]))
    before = sum(system.cpu_s(*names).values())
    drained = asyncio.run(system.worked_off(events, "routing", [topics.ROUTED.name], partition))
    used = sum(system.cpu_s(*names).values()) - before
    system.stack.stop(*names)
    return count / drained.seconds, used / drained.seconds


def run(options: Options) -> Part:
    """All of them, in one system.

    Raises:
        TookTooLong: there was no end of it.
    """
    count, few = options.count(MEASURED), options.count(ON_ONE_PARTITION)
    with System.running("scale", options) as system:
        one_partition, _ = _drain(system, 1, 0, few, 0)
        found = {
            instances: _drain(system, instances, (number + 1) * (count + few), count, None)
            for number, instances in enumerate(INSTANCES)
        }
    alone = found[INSTANCES[0]][0]
    busiest = TIMES * RECORD_MONTH / DAYS * SHARE_OF_BUSIEST_HOUR / 3_600
    instances = Table(
        "Routing, from a full topic to no lag, by instances",
        ("instances", "records/s", "of one", "cores busy with routing"),
        tuple((number, per_s, per_s / alone, cores) for number, (per_s, cores) in found.items()),
        "two cores for all of it, broker and database included",
    )
    needed = Table(
        f"What {TIMES} times the record month needs",
        ("", "complaints/s"),
        (
            (f"{TIMES} × {RECORD_MONTH:,} in a month, evenly", TIMES * RECORD_MONTH / DAYS / 86_400),
            (f"… in the busiest hour ({SHARE_OF_BUSIEST_HOUR:.0%} of a day)", busiest),
            ("one partition gives, here, with one instance", one_partition),
            (f"{topics.SUBMITTED.partitions} partitions give, here, with one instance", alone),
        ),
        "a partition is read by one instance at a time: as many instances as partitions is the most that helps",
    )
    plot = Plot(
        "Routing by instances",
        "records/s",
        tuple(str(number) for number in found),
        {"records/s": tuple(per_s for per_s, _ in found.values())},
    )
    figures = {"routing_by_instances": {str(number): round(per_s, 1) for number, (per_s, _) in found.items()}}
    return Part("scale", (instances, needed), (plot,), {**figures, "routing_one_partition_per_s": round(one_partition)})
