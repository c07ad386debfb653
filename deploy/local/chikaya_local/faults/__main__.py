"""`make faults`: every fault in turn under load, on stacks of its own. Exits with 1 if anything is lost or doubled."""

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from chikaya_local.bootstrap import bring_up
from chikaya_local.errors import CannotStart
from chikaya_local.faults import report
from chikaya_local.faults.run import Row, Run, stack_for
from chikaya_local.faults.table import LONG, Fault
from chikaya_local.report import Report
from chikaya_local.stack import LOCAL, free_ports

INSTANCES = 2


async def _on_one_stack(
    faults: Sequence[Fault], complaints: int, options: argparse.Namespace, out: Report
) -> Sequence[Row]:
    """Runs these faults, all for the same number of brokers, on a new stack; `complaints` are filed for each."""
    nodes = faults[0].nodes
    directory = options.dir / f"{nodes}-broker"
    if directory.exists():
        shutil.rmtree(directory)
    ports = free_ports(options.first_port, options.first_port + 400, instances=INSTANCES)
    stack = stack_for(directory, ports, out, nodes)
    try:
        await asyncio.to_thread(bring_up, stack)
        run = Run(stack, rate=options.rate, seed=options.seed, told=lambda said: out.line(f"[dim]{said}[/]"))
        async with run:
            for fault in faults:
                row = await run.row(fault, complaints)
                out.line(f"{fault.name}: {json.dumps(report.totals([row]))}")
            out.line("[dim]The last check, over everything …[/]")
            await run.last_check()
        return run.rows
    finally:
        await asyncio.to_thread(stack.stop_all)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--complaints", type=int, default=20_000, help="filed over the whole run, at least")
    parser.add_argument("--rate", type=float, default=25.0, help="complaints filed a second")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the mix and of the moments")
    parser.add_argument("--only", action="append", help="part of a fault's name; the documentation stays as it is")
    parser.add_argument("--dir", type=Path, default=LOCAL / "faults", help="where stacks and results are kept")
    parser.add_argument("--first-port", type=int, default=32_000, help="ports are looked for from here on")
    options = parser.parse_args(arguments)
    chosen = [fault for fault in LONG if not options.only or any(part in fault.name for part in options.only)]
    if not chosen:
        parser.error(f"no fault is named so; there are: {', '.join(fault.name for fault in LONG)}")
    out, begun = Report(Console(stderr=True, width=None if sys.stderr.isatty() else 140)), time.monotonic()
    rows: list[Row] = []
    out.line(f"Seed {options.seed} (make faults ARGS='--seed {options.seed}' repeats it)")
    failed = False
    try:
        for nodes in sorted({fault.nodes for fault in chosen}):
            faults = [fault for fault in chosen if fault.nodes == nodes]
            rows += asyncio.run(_on_one_stack(faults, -(-options.complaints // len(chosen)), options, out))
    except CannotStart as error:
        out.console.print(f"Cannot go on. {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        failed = True
    minutes = (time.monotonic() - begun) / 60
    figures = report.totals(rows)
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": options.seed,
        "rate": options.rate,
        "minutes": round(minutes, 1),
    }
    out.console.print(report.table(rows))
    report.write_results(options.dir / "results.json", rows, about)
    out.line(f"Everything that is wrong, by complaint: {options.dir / 'results.json'}")
    if not options.only and not failed:
        report.write_page(
            rows,
            f"`make faults` of {about['at'][:10]}, {os.cpu_count()} cores, seed {options.seed}: {options.rate:g} "
            f"complaints a second, {figures['acknowledged']:,} acknowledged, {minutes:.0f} minutes in all.",
        )
    print(json.dumps(figures))
    return 0 if report.is_clean(figures) and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
