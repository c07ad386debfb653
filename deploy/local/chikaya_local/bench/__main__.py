"""`make bench`: measures the pipeline beside floors of the same run; the last line is JSON."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psutil
from rich.console import Console

from chikaya_local.stack import ROOT

from . import floors, footprint, growth, intake, pipeline, printed, scale, singles
from .figures import Part
from .system import HOME, Options, System

DOCUMENTATION = ROOT / "docs" / "explanation" / "performance.md"
LAST_LINE = (
    "intake_ratio", "routing_ratio", "tracking_ratio", "notification_ratio",
    "pipeline_per_s", "lifecycles_per_s", "p99_ms_at_50", "database",
)  # fmt: skip

PARTS: dict[str, Callable[[Options], Part]] = {
    "floors": floors.run,
    "intake": intake.run,
    "routing": lambda options: singles.run(options, ["routing"]),
    "tracking": lambda options: singles.run(options, ["tracking"]),
    "notification": lambda options: singles.run(options, ["notification"]),
    "pipeline": pipeline.run,
    "growth": growth.run,
    "scale": scale.run,
    "footprint": footprint.run,
}
"""What can be chosen by name; without a name, all are run, in this order."""


def main() -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="part", help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the complaints of each measurement")
    parser.add_argument("--growth", type=int, default=int(os.environ.get("GROWTH") or 100_000), help="cases (GROWTH)")
    parser.add_argument("--docs", action="store_true", help=f"write the tables into {DOCUMENTATION.relative_to(ROOT)}")
    chosen = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 170)
    options = Options(chosen.scale, chosen.growth)
    begun, parts, failed = time.monotonic(), list[Part](), list[str]()
    facts = _facts(options)
    for name in chosen.parts or PARTS:
        console.rule(name)
        try:
            parts.append(PARTS[name](options))
        except Exception:  # the other parts are measured all the same; the exit code tells
            console.print_exception()
            failed.append(name)
            continue
        printed.on_terminal(console, parts[-1])
    facts["minutes"] = f"{(time.monotonic() - begun) / 60:.1f}"
    figures = {name: value for part in parts for name, value in part.figures.items()}
    _kept(facts, parts, figures)
    if chosen.docs:
        printed.in_documentation(DOCUMENTATION, facts, parts)
    console.print(f"Page: {HOME / 'index.html'}   Results: {HOME / 'results.json'}")
    print(json.dumps({name: {"database": facts["database"], **figures}.get(name) for name in LAST_LINE}))
    return 1 if failed else 0


def _facts(options: Options) -> dict[str, str]:
    with System.running("probe", options) as system:
        database = system.database_name()
    memory = psutil.virtual_memory().total / 1e9
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}; load before: {os.getloadavg()[0]:.1f}",
        "database": database,
        "scale": f"{options.scale:g}",
    }


def _kept(facts: dict[str, str], parts: list[Part], figures: dict[str, object]) -> None:
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "index.html").write_text(printed.page(facts, parts), "utf-8")
    tables = {table.title: [table.columns, *table.rows] for part in parts for table in part.tables}
    results = {"facts": facts, "figures": figures, "tables": tables}
    (HOME / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
