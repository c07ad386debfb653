"""Which processes a stack has, kept in its directory: so that `make down` can stop what a lost terminal left."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from chikaya_local.errors import CannotStart
from chikaya_local.report import Report

NAME = "stack.pids"
DRAIN_S = 40.0


def claim(directory: Path, report: Report) -> None:
    """Takes `directory` for this process; stops what an earlier one, killed, has left there.

    Raises:
        CannotStart: another stack runs from this directory.
    """
    keeper, left = _read(directory)
    if keeper is not None and keeper.pid != os.getpid():
        raise CannotStart(
            f"A stack already runs from {directory} (process {keeper.pid}). Stop it with make down, or start another "
            "beside it: CHIKAYA_LOCAL_DIR=.local/second make up PORT_OFFSET=1000"
        )
    if left:
        report.line(f"Stopping what an earlier start left: {', '.join(left)}")
        _end(left.values())
    write(directory, {})


def write(directory: Path, pids: Mapping[str, int]) -> None:
    """Records the processes that run now, beside our own."""
    rows = {"": os.getpid(), **pids}
    marks = {name: mark for name, pid in rows.items() if (mark := _mark(pid)) is not None}
    new = directory / f"{NAME}.new"
    new.write_text(json.dumps(marks), "utf-8")
    new.replace(directory / NAME)


def release(directory: Path) -> None:
    """All has been stopped."""
    (directory / NAME).unlink(missing_ok=True)


def stop(directory: Path, report: Report) -> bool:
    """Stops the stack of `directory`, whoever started it. Returns whether there was anything to stop."""
    keeper, left = _read(directory)
    if keeper is not None:
        report.line(f"Stopping the stack of {directory} (process {keeper.pid}) …")
        _end([keeper])
        _, left = _read(directory)
    if left:
        report.line(f"Stopping what was left: {', '.join(left)}")
        _end(left.values())
    release(directory)
    return keeper is not None or bool(left)


def _mark(pid: int) -> list[float] | None:
    try:
        return [pid, psutil.Process(pid).create_time()]
    except psutil.Error:
        return None


def _read(directory: Path) -> tuple[psutil.Process | None, dict[str, psutil.Process]]:
    path = directory / NAME
    if not path.exists():
        return None, {}
    alive: dict[str, psutil.Process] = {}
    for name, (pid, started) in json.loads(path.read_text("utf-8")).items():
        try:
            process = psutil.Process(int(pid))
            # Process ids are used again: the time of birth tells whether it is still the same process.
            if abs(process.create_time() - started) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                alive[name] = process
        except psutil.Error:
            continue
    return alive.pop("", None), alive


def _end(processes: Iterable[psutil.Process]) -> None:
    chosen = list(processes)
    for process in chosen:
        try:
            process.terminate()
        except psutil.Error:
            continue
    _, stubborn = psutil.wait_procs(chosen, timeout=DRAIN_S)
    for process in stubborn:
        process.kill()
    psutil.wait_procs(stubborn, timeout=5)
