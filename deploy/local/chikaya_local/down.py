"""`make down`: stops what `make up` has started, from wherever, even when its terminal is lost."""

import argparse
import sys
from pathlib import Path

from chikaya_local import pidfile
from chikaya_local.report import Report
from chikaya_local.up import default_directory


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="make down", description=__doc__)
    parser.add_argument("--dir", type=Path, default=default_directory(), help="data's folder (CHIKAYA_LOCAL_DIR)")
    directory = parser.parse_args(arguments).dir.resolve()
    report = Report()
    stopped = pidfile.stop(directory, report)
    report.line("All stopped." if stopped else f"Nothing runs from {directory}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
