"""JSON Schemas, the AsyncAPI document and the reference pages, all made from the models and the tables.

`python -m chikaya_contracts.schemas` writes them; with `--check` it writes nothing, names the files that differ from
the models, and exits 1 if there are any.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import asyncapi, messages, reference_pages
from .json_schema import consumer, producer

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("contracts/schemas/consumer", "contracts/schemas/producer")


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def generated() -> dict[str, str]:
    """The text of every generated file, by its path in the repository."""
    made = {
        "contracts/asyncapi.yaml": asyncapi.text(),
        "docs/reference/topics.md": reference_pages.topics_page(),
        "docs/reference/states.md": reference_pages.states_page(),
        "docs/reference/messages.md": reference_pages.messages_page(),
    }
    for type_, model in messages.ALL.items():
        made[f"contracts/schemas/consumer/{type_}.json"] = _json(consumer(model))
        made[f"contracts/schemas/producer/{type_}.json"] = _json(producer(model))
    return made


def differing(root: Path) -> list[str]:
    """The generated files under `root` that are missing, differ from the models, or belong to no model any more."""
    made = generated()
    differ = [
        path for path, text in made.items() if not (root / path).is_file() or (root / path).read_text("utf-8") != text
    ]
    return sorted(differ + _stale(root, made))


def _stale(root: Path, made: dict[str, str]) -> list[str]:
    present = [path.relative_to(root).as_posix() for folder in FOLDERS for path in (root / folder).glob("*.json")]
    return [path for path in present if path not in made]


def write(root: Path) -> list[str]:
    """Brings the generated files under `root` up to date; gives those that changed."""
    made, changed = generated(), differing(root)
    for path in changed:
        if path in made:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(made[path], "utf-8")
        else:
            (root / path).unlink()
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m chikaya_contracts.schemas",
        description="Writes the schemas, the AsyncAPI document and the reference pages from the models.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs from the models")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the repository (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.check:
        differ = differing(options.root)
        for path in differ:
            print(f"{path} differs from the models: run python -m chikaya_contracts.schemas")
        return 1 if differ else 0
    for path in write(options.root):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
