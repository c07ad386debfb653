"""Makes `docs/reference/command.md` from the `chikaya` command itself: what each does, its arguments and options.

`python docs/reference/make_command.py` writes it; with `--check` it writes nothing and exits 1 if the page differs.
"""

import argparse
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer
from chikaya_servicekit.cli import app

PAGE = Path(__file__).with_name("command.md")
ROOT = Path(__file__).resolve().parents[2]
MADE = "<!-- Made by `python docs/reference/make_command.py`; do not edit. -->"
ACTING = {
    "topics provision": "Kafka's administrator",
    "topics list": "anybody: it reads the table in the contracts",
    "topics lag": "`operator`",
    "dead-letters": "`operator`",
    "catalogue": "routing: its database and its Kafka user",
    "channels": "intake: its database",
}
"""Whose settings a command runs with."""


def tree() -> Any:
    """The whole command, with what services add to it."""
    for entry in entry_points(group="chikaya.commands"):
        if entry.name not in {group.name for group in app.registered_groups}:
            app.add_typer(entry.load(), name=entry.name)
    return typer.main.get_command(app)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace(f"{ROOT}/", "")


def _parameters(command: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        argument = parameter.param_type_name == "argument"
        name = f"`{parameter.name.upper()}`" if argument else ", ".join(f"`{one}`" for one in parameter.opts)
        more = "needed" if parameter.required else "may be repeated" if parameter.multiple else ""
        rows.append(f"| {name} | {_cell(getattr(parameter, 'help', '') or '')} | {more} |")
    return ["| | | |", "|---|---|---|", *rows] if rows else []


def _usage(path: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    named = [parameter.name.upper() + ("…" if parameter.nargs == -1 else "") for parameter in arguments]
    return " ".join(["chikaya", path, *named])


def page() -> str:
    """The page's text."""
    blocks = [
        MADE,
        "# The `chikaya` command",
        "For operators. It has its settings from the environment, as processes have ([settings](settings.md)), and "
        "runs as whoever owns what it touches. What changes something says what it would do, and does it with `--yes`. "
        "Services add their own commands ([0011](../adr/0011-one-command-extended.md)): an image has those of what is "
        "installed in it.",
    ]
    for group, commands in sorted(tree().commands.items()):
        blocks += [f"## {group}", _cell(commands.help or "")]
        for name, command in commands.commands.items():
            path = f"{group} {name}"
            acting = ACTING.get(path) or ACTING[group]
            blocks += [
                f"### {path}",
                _cell(command.help or ""),
                f"    {_usage(path, command)}",
                f"Runs as {acting}.",
                "\n".join(_parameters(command)),
            ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page differs")
    made = page()
    if parser.parse_args(arguments).check:
        if not PAGE.is_file() or PAGE.read_text("utf-8") != made:
            print(f"{PAGE.name} differs from the command: run python docs/reference/make_command.py")
            return 1
        return 0
    PAGE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
