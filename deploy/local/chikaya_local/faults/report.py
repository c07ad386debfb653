"""What a run has found: a table at the terminal, the same in the documentation, a file of results, one line of JSON."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from chikaya_local.faults.run import Row
from chikaya_local.stack import ROOT

PAGE = ROOT / "docs" / "explanation" / "faults.md"
BEGIN, END = "<!-- Made by make faults; do not edit from here … -->", "<!-- … to here. -->"
HEADINGS = ("fault", "acknowledged", "lost", "doubled", "raw copies", "repeated e-mails and SMS", "seconds to recover")


def _cells(row: Row) -> tuple[str, ...]:
    verdict = row.verdict
    recovered = "not within 120" if row.recovered_s is None else f"{row.recovered_s:.1f}"
    counts = (row.acknowledged, len(verdict.lost), len(verdict.doubled), verdict.copies, verdict.repeats)
    return row.fault.name, *map(str, counts), recovered


def table(rows: Sequence[Row]) -> Table:
    """For the terminal; what misses its target is red."""
    shown = Table(title="Faults")
    for heading in HEADINGS:
        shown.add_column(heading, justify="left" if heading == "fault" else "right")
    for row in rows:
        name, acknowledged, lost, doubled, copies, repeats, recovered = _cells(row)
        shown.add_row(
            name,
            acknowledged,
            lost if lost == "0" else f"[red]{lost}[/]",
            doubled if doubled == "0" else f"[red]{doubled}[/]",
            copies,
            repeats,
            recovered if in_time(row) else f"[red]{recovered}[/]",
        )
    return shown


def in_time(row: Row) -> bool:
    """Whether the row's recovery met its target."""
    return row.recovered_s is not None and row.recovered_s <= row.fault.limit_s


def totals(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of the last line. `disordered` are complaints whose history or decisions are in no order."""
    known = [row.recovered_s for row in rows if row.recovered_s is not None]
    return {
        "acknowledged": sum(row.acknowledged for row in rows),
        "lost": sum(len(row.verdict.lost) for row in rows),
        "doubled": sum(len(row.verdict.doubled) for row in rows),
        "worst_recovery_s": round(max(known), 1) if len(known) == len(rows) and known else None,
        "disordered": sum(len(row.verdict.disordered) for row in rows),
    }


def is_clean(figures: dict[str, Any]) -> bool:
    """Whether nothing is lost, doubled or out of order."""
    return not (figures["lost"] or figures["doubled"] or figures["disordered"])


def write_results(path: Path, rows: Sequence[Row], facts: dict[str, Any]) -> None:
    """Every row with all that is wrong in it, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = {
        **facts,
        **totals(rows),
        "rows": [
            {
                "fault": row.fault.name,
                "acknowledged": row.acknowledged,
                "recovered_s": row.recovered_s,
                "waited_for": row.waited_for,
                "settled_s": row.settled_s,
                "lag_before": row.lag_before,
                "dead_letters": len(row.set_aside),
                "copies": row.verdict.copies,
                "overtaken": row.verdict.overtaken,
                "repeats": row.verdict.repeats,
                "lost": row.verdict.lost,
                "doubled": row.verdict.doubled,
                "disordered": row.verdict.disordered,
            }
            for row in rows
        ],
    }
    path.write_text(json.dumps(written, ensure_ascii=False, indent=1), "utf-8")


def write_page(rows: Sequence[Row], facts: dict[str, Any]) -> None:
    """Rewrites the section of the documentation that is made from a run."""
    lines = [
        f"`make faults` of {facts['at'][:10]} on {os.cpu_count()} cores, seed {facts['seed']}: {facts['rate']:g} "
        f"complaints a second, {totals(rows)['acknowledged']:,} acknowledged, {facts['minutes']:.0f} minutes in all.",
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|---{'|---:' * (len(HEADINGS) - 1)}|",
        *(f"| {' | '.join(_cells(row))} |" for row in rows),
    ]
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}", "utf-8")
