"""`make faults`: every fault in turn under load, on stacks of its own. Exits with 1 if anything is lost or doubled."""

import argparse
import asyncio
import json
import logging
import random
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

from rich.console import Console

from chikaya_local.bootstrap import bring_up
from chikaya_local.errors import CannotStart
from chikaya_local.faults import report
from chikaya_local.faults.run import Row, Run, stack_for
from chikaya_local.faults.table import LONG, Fault
from chikaya_local.report import Report
from chikaya_local.stack import LOCAL, free_ports

INSTANCES = 2


class Command:
    """One call of the command: its options, and the rows so far."""

    def __init__(self, options: argparse.Namespace, out: Report) -> None:
        self.options, self._out, self._begun = options, out, time.monotonic()
        self.rows: list[Row] = []
        self.results: Path = options.dir / "results.json"

    @property
    def facts(self) -> dict[str, Any]:
        """What the figures are figures of."""
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": self.options.seed,
            "rate": self.options.rate,
            "minutes": round((time.monotonic() - self._begun) / 60, 1),
        }

    async def run(self, faults: Sequence[Fault], complaints: int) -> None:
        """These faults, all for the same number of brokers, on a new stack; `complaints` are filed for each.

        Raises:
            CannotStart: the stack does not start, or a process does not come back.
        """
        nodes = faults[0].nodes
        directory = self.options.dir / f"{nodes}-broker"
        if directory.exists():
            shutil.rmtree(directory)
        first = self.options.first_port
        stack = stack_for(directory, free_ports(first, first + 400, instances=INSTANCES), self._out, nodes)
        try:
            await asyncio.to_thread(bring_up, stack)
            async with Run(stack, rate=self.options.rate, seed=self.options.seed, told=self._tell) as run:
                for fault in faults:
                    self.rows.append(await run.row(fault, complaints))
                    report.write_results(self.results, self.rows, self.facts)
                    self._out.line(f"{fault.name}: {json.dumps(report.totals(self.rows[-1:]))}")
                self._tell("the last check, over everything")
                await run.last_check()
                report.write_results(self.results, self.rows, self.facts)
        finally:
            await asyncio.to_thread(stack.stop_all)

    def _tell(self, said: str) -> None:
        self._out.line(f"[dim]{said}[/]")


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
    out = Report(Console(stderr=True, width=None if sys.stderr.isatty() else 140))
    out.line(f"Seed {options.seed} (make faults ARGS='--seed {options.seed}' repeats it)")
    # Brokers that do not answer are what this is about: clients need not say so each time.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    command, whole = Command(options, out), True
    try:
        for nodes in sorted({fault.nodes for fault in chosen}):
            faults = [fault for fault in chosen if fault.nodes == nodes]
            asyncio.run(command.run(faults, ceil(options.complaints / len(chosen))))
    except CannotStart as error:
        out.console.print(f"Cannot go on. {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        whole = False
    out.console.print(report.table(command.rows))
    out.line(f"All of it, and what is wrong by complaint: {command.results}")
    if whole and not options.only:
        report.write_page(command.rows, command.facts)
    figures = report.totals(command.rows)
    print(json.dumps(figures))
    return 0 if whole and report.is_clean(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
