"""Runs a tutorial as it is written, and writes what each step printed into it: `python docs/tutorials/run.py FILE.md`.

Every `sh` block is run, in one bash, in order; the `text` block that follows it, if there is one, is given the output.
`make up` must run. Ports are written as they are with no PORT_OFFSET, folders as they are without CHIKAYA_LOCAL_DIR,
and secrets as dots. Exits 1, and writes nothing, if a block ends with an error.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from chikaya_local.programs import HANDBOOK, KAFKA, MONGO
from chikaya_local.up import default_directory

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "-- end of step "
SECRETS = re.compile(r"(shown this once: )\S+")


def blocks(page: str) -> list[tuple[str, str, int, int]]:
    """(language, content, begin, end) of each fenced block; begin and end are those of the content."""
    return [(found[1], found[2], found.start(2), found.end(2)) for found in BLOCK.finditer(page)]


def script(steps: list[str]) -> str:
    """All steps for one bash with job control, each with a mark after it that says how it ended."""
    return "set -m\n" + "".join(f"{step}\nprintf '\\n{MARK}%s\\n' $?\n" for step in steps)


def as_without_settings(output: str) -> str:
    """The output of a stack with an offset and a folder of its own, as it would be without."""
    offset = int(os.environ.get("PORT_OFFSET", "0"))
    for port in {*HANDBOOK.values(), 8102, KAFKA, MONGO}:
        output = re.sub(rf"\b{port + offset}\b", str(port), output)
    output = output.replace(str(default_directory().resolve()), ".local/main").replace(f"{ROOT}/", "")
    return SECRETS.sub(r"\1…", output)


def main() -> int:
    """Runs the command; returns its exit code."""
    path = Path(sys.argv[1])
    page = path.read_text("utf-8")
    found = blocks(page)
    steps = [content for language, content, _, _ in found if language == "sh"]
    environment = os.environ | {"COLUMNS": "110", "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["/bin/bash"], input=script(steps), text=True, cwd=ROOT, env=environment, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    parts = re.split(rf"\n?{MARK}(\d+)\n", done.stdout)
    outputs, codes = parts[:-1:2], parts[1::2]
    print(done.stdout)
    if len(codes) != len(steps) or set(codes) != {"0"}:
        print(f"{path.name}: steps ended with {codes}", file=sys.stderr)
        return 1
    step = -1
    written: list[str] = []
    last = 0
    for language, content, begin, end in found:
        step += language == "sh"
        new = content if language == "sh" else as_without_settings(outputs[step]).strip("\n") + "\n"
        written += [page[last:begin], new]
        last = end
    path.write_text("".join(written) + page[last:], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
