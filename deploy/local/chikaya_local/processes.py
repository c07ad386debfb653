"""One process: started so that it cannot outlive us, and stopped so that it can finish its work."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

LOG_KEPT = 10 << 20
"""A log larger than this many bytes is set aside (`.1`) when its process starts."""


@dataclass(frozen=True)
class Command:
    """What is run: a name for people, the arguments, the whole environment, and where its output goes."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None


def inherited_environment() -> dict[str, str]:
    """Our own environment without any of the project's settings: each process is given only its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CHIKAYA_")}


UNLESS_ORPHANED = '[ "$PPID" = "$0" ] && exec "$@"'
"""Run by `sh` with our process id before the command: we may have ended before our death was to be told (prctl(2))."""


@cache
def dies_with_parent() -> tuple[str, ...]:
    """What comes before a command so that it is asked to end when the thread that has spawned it ends, however that
    comes about; nothing where the system cannot do that. Spawn from a thread that stays."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "TERM", "sh", "-c", UNLESS_ORPHANED, str(os.getpid())) if setpriv else ()


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Starts `command` in a session of its own (Ctrl-C reaches only us), its output appended to its log.

    The process is asked to end (SIGTERM) when the calling thread ends, however that comes about.

    Raises:
        OSError: the program cannot be run.
    """
    command.log.parent.mkdir(parents=True, exist_ok=True)
    if command.log.exists() and command.log.stat().st_size > LOG_KEPT:
        command.log.replace(command.log.with_name(command.log.name + ".1"))
    with command.log.open("ab") as out:
        return subprocess.Popen(
            [*dies_with_parent(), *command.argv],
            env={**inherited_environment(), **command.env},
            cwd=command.directory,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop_all(processes: Iterable[subprocess.Popen[bytes]], patience_s: float) -> list[int]:
    """Asks all to end, at once; ends by force those that have not after `patience_s` seconds, and returns their ids."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGTERM)
    deadline, forced = time.monotonic() + patience_s, []
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            forced.append(process.pid)
    return forced


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, for a message that explains why its process ended."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-count:])
