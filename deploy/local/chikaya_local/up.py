"""`make up`: starts everything on this machine, prints where it is, and stays until Ctrl-C."""

import argparse
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from rich.table import Table

from chikaya_local.bootstrap import bring_up
from chikaya_local.demonstration import demonstrate
from chikaya_local.errors import CannotStart
from chikaya_local.programs import Ports
from chikaya_local.report import Report
from chikaya_local.stack import LOCAL, Settings, Stack

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def default_directory() -> Path:
    """Where the data of `make up` is kept: CHIKAYA_LOCAL_DIR, or `.local/main`."""
    return Path(os.environ.get("CHIKAYA_LOCAL_DIR") or LOCAL / "main")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="make up", description=__doc__)
    parser.add_argument("--port-offset", type=int, default=0, help="added to every port (make up PORT_OFFSET=1000)")
    parser.add_argument("--kafka-nodes", type=int, choices=(1, 3), default=1, help="Kafka brokers (KAFKA_NODES=3)")
    parser.add_argument("--dir", type=Path, default=default_directory(), help="data's folder (CHIKAYA_LOCAL_DIR)")
    options = parser.parse_args(arguments)
    report, begun = Report(), time.monotonic()
    try:
        stack = Stack(options.dir, Ports(options.port_offset), Settings(kafka_nodes=options.kafka_nodes), report=report)
    except CannotStart as error:
        return _refuse(report, error)

    def leave(_signal: int, _frame: FrameType | None) -> None:
        for number in SIGNALS:
            signal.signal(number, lambda *_: _give_up(stack))
        stack.stopping.set()
        raise KeyboardInterrupt

    for number in SIGNALS:
        signal.signal(number, leave)
    code = 0
    try:
        bring_up(stack, demonstrate=demonstrate)
        _welcome(stack, time.monotonic() - begun)
        stack.stopping.wait()
    except KeyboardInterrupt:
        report.line("\nStopping; what was accepted is finished first (Ctrl-C again: at once) …")
    except CannotStart as error:
        code = _refuse(report, error)
    finally:
        stack.stop_all()
    if not code:
        report.line(f"All stopped. Data stays in {stack.directory}; make up goes on from there.")
    return code


def _refuse(report: Report, error: CannotStart) -> int:
    with suppress(OSError):
        report.console.print(f"Cannot start. {error}", style="red", markup=False, highlight=False, soft_wrap=True)
    return 1


def _give_up(stack: Stack) -> None:
    stack.kill_all()
    os._exit(130)


def _welcome(stack: Stack, seconds: float) -> None:
    addresses = Table(box=None, show_header=False, padding=(0, 2))
    for program in stack.programs:
        if program.what:
            addresses.add_row(program.what, stack.ports.url(program.port))
    addresses.add_row("Kafka (SASL, SCRAM-SHA-512)", stack.kafka.bootstrap)
    addresses.add_row("Database", f"127.0.0.1:{stack.mongo.port}")
    report, url = stack.report, stack.ports.url
    report.line(f"\n[bold green]Chikaya is up[/] in {seconds:.0f} s.\n")
    with suppress(OSError):
        report.console.print(addresses)
    report.line(
        f"""
Three things to try:
  1. File a complaint, in Arabic or French, and read what the citizen is sent:  {url("portal")}  {url("inbox")}
  2. Say which administration is competent where the machine was not sure:      {url("routing")}/triage
  3. Answer for an administration, as one of its officers:                      {url("desk")}

Logs: {stack.logs}   Secrets: {stack.directory / "secrets.json"}
Ctrl-C stops everything; data stays."""
    )


if __name__ == "__main__":
    sys.exit(main())
