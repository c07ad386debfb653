"""What the benchmark has found, for people: on the terminal, as a page that stands alone, and in the documentation."""

import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from .figures import Part, Plot, Table, shown

BEGIN, END = "<!-- make bench writes from here -->", "<!-- to here -->"
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}caption{text-align:left;font-weight:600}svg{max-width:100%;height:auto}
.note{color:#595959}"""


def on_terminal(console: Console, part: Part) -> None:
    """Prints a part's tables."""
    for table in part.tables:
        drawn = RichTable(title=table.title, caption=table.note or None, title_justify="left", caption_justify="left")
        for number, column in enumerate(table.columns):
            drawn.add_column(column, justify="left" if number == 0 else "right")
        for row in table.rows:
            drawn.add_row(*map(shown, row))
        console.print(drawn)


def page(facts: Mapping[str, str], parts: Sequence[Part]) -> str:
    """One HTML page with all tables and plots in it; it needs no other file and no network."""
    stated = "".join(f"<li>{html.escape(name)}: {html.escape(value)}</li>" for name, value in facts.items())
    sections = "".join(
        f"<h2>{html.escape(part.name.capitalize())}</h2>{''.join(map(_drawn, part.plots))}"
        f"{''.join(map(_html, part.tables))}"
        for part in parts
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Chikaya: make bench</title><style>{STYLE}</style><h1>make bench</h1><ul>{stated}</ul>{sections}</html>"
    )


def in_documentation(file: Path, facts: Mapping[str, str], parts: Sequence[Part]) -> None:
    """Puts the tables between the marks of a Markdown file.

    Raises:
        ValueError: the file has no such marks.
    """
    text = file.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{file} has no section for make bench ({BEGIN} … {END})")
    stated = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    tables = "\n\n".join(_markdown(table) for part in parts for table in part.tables)
    file.write_text(f"{before}{BEGIN}\n\n{stated}\n\n{tables}\n\n{END}{after}", "utf-8")


def _markdown(table: Table) -> str:
    lines = [f"**{table.title}**", "", f"| {' | '.join(name or ' ' for name in table.columns)} |"]
    lines.append("|" + "---|" + "--:|" * (len(table.columns) - 1))
    lines += [f"| {' | '.join(map(shown, row))} |" for row in table.rows]
    return "\n".join(lines + (["", f"_{table.note}_"] if table.note else []))


def _html(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in table.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(shown(cell))}</td>' for cell in row)}</tr>" for row in table.rows)
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    return f"<table><caption>{html.escape(table.title)}</caption><thead><tr>{head}</tr></thead>{rows}</table>{note}"


def _drawn(plot: Plot) -> str:
    """The plot as inline SVG, with what it shows said in words for who does not see it."""
    from matplotlib.figure import Figure  # 0.3 s: only when a page is made

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(plot.series)
    for number, (name, values) in enumerate(plot.series.items()):
        places = [at + number * width for at in range(len(plot.labels))]
        bars = axes.bar(places, values, width, label=name)
        axes.bar_label(bars, [shown(value) for value in values], fontsize=8)
    axes.set_xticks([at + 0.4 - width / 2 for at in range(len(plot.labels))], plot.labels)
    axes.set_ylabel(plot.unit)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    drawing = out.getvalue()
    return (
        f'<figure role="img" aria-label="{html.escape(plot.title)}">{drawing[drawing.index("<svg") :]}'
        f"<figcaption>{html.escape(plot.title)}</figcaption></figure>"
    )
