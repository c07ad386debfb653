"""Makes `docs/reference/settings.md` from the Settings classes: every setting of every process, with what it is for.

`python docs/reference/make_settings.py` writes it; with `--check` it writes nothing and exits 1 if the page differs.
"""

import argparse
import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from chikaya_servicekit.settings import MongoSettings, ServiceSettings
from chikaya_servicekit.staff import StaffSettings
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

PAGE = Path(__file__).with_name("settings.md")
PROCESSES = ("intake", "routing", "tracking", "notification", "portal", "callcenter", "desk")
SHARED: tuple[tuple[str, str, type[BaseSettings]], ...] = (
    ("Every process", "", ServiceSettings),
    ("Processes with a database", "intake, routing, tracking, notification, desk", MongoSettings),
    ("Processes that let staff in", "all but the portal", StaffSettings),
)
MADE = "<!-- Made by `python docs/reference/make_settings.py`; do not edit. -->"


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if annotation is SecretStr:
        return "secret"
    return {"str": "text", "int": "number", "float": "number", "bool": "yes or no", "Path": "file"}.get(
        getattr(annotation, "__name__", ""), str(annotation)
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    if field.default_factory is not None:
        return "made at random"
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return f"`{value}`" if str(value) else "empty"


def _rows(fields: Iterable[tuple[str, FieldInfo]]) -> list[str]:
    lines = ["| setting | is | default | what it is for |", "|---|---|---|---|"]
    for name, field in fields:
        what = (field.description or "").replace("|", "\\|")
        lines.append(f"| `CHIKAYA_{name.upper()}` | {_type(field.annotation)} | {_default(field)} | {what} |")
    return lines


def _same(field: FieldInfo, shared: FieldInfo | None) -> bool:
    return shared is not None and (field.description, field.default) == (shared.description, shared.default)


def _own(settings: type[BaseSettings]) -> list[tuple[str, FieldInfo]]:
    """What a process has besides the shared settings, or with another default or meaning."""
    shared = {name: field for _, _, kind in SHARED if issubclass(settings, kind) for name, field in _fields(kind)}
    return [(name, field) for name, field in _fields(settings) if not _same(field, shared.get(name))]


def _fields(settings: type[BaseSettings]) -> list[tuple[str, FieldInfo]]:
    return list(settings.model_fields.items())


def page() -> str:
    """The page's text."""
    blocks = [
        MADE,
        "# Settings",
        "All come from the environment. A process that lacks one it needs, or has one it cannot read, ends at once and "
        "names it. `make up` sets them from `deploy/local/chikaya_local/programs.py`, compose from `.env` and "
        "`docker-compose.yml`.",
    ]
    for title, who, kind in SHARED:
        blocks += [f"## {title}", *([f"{who[0].upper()}{who[1:]}."] if who else []), "\n".join(_rows(_fields(kind)))]
    for name in PROCESSES:
        settings = importlib.import_module(f"chikaya_{name}.settings").Settings
        blocks += [f"## {name}", "\n".join(_rows(_own(settings)))]
    return "\n\n".join(blocks) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page differs")
    made = page()
    if parser.parse_args(arguments).check:
        if not PAGE.is_file() or PAGE.read_text("utf-8") != made:
            print(f"{PAGE.name} differs from the Settings classes: run python docs/reference/make_settings.py")
            return 1
        return 0
    PAGE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
