"""What a part of the benchmark gives: tables for people, series to plot, figures for programs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Rows of figures under a title. `note` says, in a sentence, how they were come by."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Plot:
    """Bars side by side, one group for each label; `series` is name → a value for each label."""

    title: str
    unit: str
    labels: tuple[str, ...]
    series: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Part:
    """All that one part of the benchmark has found; `figures` go into the results and, in part, the last line."""

    name: str
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the least value that `share` (0-1) of all do not exceed; NaN where there is none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def shown(value: Cell) -> str:
    """A cell as people read it: three digits that count, thousands apart, a dash for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
