"""Keeps processes running: starts them, starts again those that die unasked, and stops them when asked."""

import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from chikaya_local.processes import Command, spawn, stop_all

BACKOFF_S = (0.2, 0.5, 1, 2, 5, 10)
"""Waits before the first, second, … start after a death; a process that lived for `STEADY_S` begins anew."""
STEADY_S = 30.0
LOOK_EVERY_S = 0.1

T = TypeVar("T")


@dataclass
class _Kept:
    command: Command
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = False
    started_at: float = 0.0
    deaths: int = 0
    start_at: float = 0.0


class Supervisor:
    """One thread owns all processes: they are asked to end if it does (see `spawn`), as when we are killed.

    Args:
        say: told, in one line, of each death that nobody asked for.
        changed: called after every change, with the process id of each that runs; on the supervisor's thread.
    """

    def __init__(self, say: Callable[[str], None], changed: Callable[[dict[str, int]], None] = lambda _: None) -> None:
        self._say, self._changed = say, changed
        self._kept: dict[str, _Kept] = {}
        self._requests: queue.Queue[Callable[[], None]] = queue.Queue()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def start(self, command: Command) -> None:
        """Starts a process, or does nothing while one of that name runs. It is kept running from now on.

        Raises:
            OSError: the program cannot be run.
        """

        def begin() -> None:
            kept = self._kept.setdefault(command.name, _Kept(command))
            kept.command, kept.wanted, kept.deaths = command, True, 0
            if kept.process is None or kept.process.poll() is not None:
                self._spawn(kept)

        self._ask(begin)

    def stop(self, names: Iterable[str], patience_s: float) -> list[str]:
        """Asks processes to end, all at once, and waits; those that do not in time are killed, and named."""

        def release() -> list[tuple[str, subprocess.Popen[bytes]]]:
            chosen = [self._kept[name] for name in names if name in self._kept]
            for kept in chosen:
                kept.wanted = False
            return [(kept.command.name, kept.process) for kept in chosen if kept.process is not None]

        processes = self._ask(release)
        forced = set(stop_all([process for _, process in processes], patience_s))
        self._ask(self._tell)
        return [name for name, process in processes if process.pid in forced]

    def kill(self, name: str, signal_number: int = signal.SIGKILL, *, stay_down: bool = False) -> int:
        """Sends a signal, and returns the process id that it went to. A dead process is started again by supervision,
        unless it is to `stay_down`.

        Raises:
            ProcessLookupError: no process of that name runs.
        """

        def strike() -> int:
            process = self._running(name)
            self._kept[name].wanted = not stay_down
            process.send_signal(signal_number)
            return process.pid

        return self._ask(strike)

    def pause(self, name: str) -> None:
        """Holds a process where it is (SIGSTOP): it keeps its connections and answers nothing.

        Raises:
            ProcessLookupError: no process of that name runs.
        """
        self._ask(lambda: self._running(name).send_signal(signal.SIGSTOP))

    def resume(self, name: str) -> None:
        """Lets a process go on (SIGCONT); nothing happens to one that was not held.

        Raises:
            ProcessLookupError: no process of that name runs.
        """
        self._ask(lambda: self._running(name).send_signal(signal.SIGCONT))

    def pid(self, name: str) -> int | None:
        """The process id of `name` while it runs."""
        return self._ask(self._pids).get(name)

    def running(self, name: str) -> bool:
        """Whether a process of that name runs now."""
        return self.pid(name) is not None

    def deaths(self, name: str) -> int:
        """How often in a row a process has ended, unasked, within `STEADY_S` of its start."""
        return self._ask(lambda: self._kept[name].deaths if name in self._kept else 0)

    def names(self) -> list[str]:
        """Every process ever started, in order."""
        return self._ask(lambda: list(self._kept))

    def close(self) -> None:
        """Ends supervision; processes that still run are asked to end."""
        with suppress(RuntimeError):
            self._ask(self._finish)
        self._thread.join(5)

    def _ask(self, action: Callable[[], T]) -> T:
        if not self._thread.is_alive():
            raise RuntimeError("the supervisor is closed")
        answer: Future[T] = Future()

        def act() -> None:
            try:
                answer.set_result(action())
            except BaseException as error:  # handed to the one who asked
                answer.set_exception(error)

        self._requests.put(act)
        while not answer.done():
            with suppress(TimeoutError):
                return answer.result(timeout=1)
            if not self._thread.is_alive() and not answer.done():
                raise RuntimeError("the supervisor is closed")
        return answer.result()

    def _run(self) -> None:
        while not self._closing:
            with suppress(queue.Empty):
                self._requests.get(timeout=LOOK_EVERY_S)()
            self._look_after()

    def _look_after(self) -> None:
        now = time.monotonic()
        for name, kept in self._kept.items():
            if kept.process is not None and (code := kept.process.poll()) is not None:
                kept.process = None
                self._tell()
                if kept.wanted:
                    self._died(name, kept, code, now)
            if kept.process is None and kept.wanted and now >= kept.start_at:
                try:
                    self._spawn(kept)
                except OSError as error:
                    self._say(f"{name} cannot be started: {error}")
                    kept.wanted = False

    def _died(self, name: str, kept: _Kept, code: int, now: float) -> None:
        kept.deaths = 1 if now - kept.started_at > STEADY_S else kept.deaths + 1
        wait = BACKOFF_S[min(kept.deaths, len(BACKOFF_S)) - 1]
        kept.start_at = now + wait
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        self._say(f"{name} {how}; started again in {wait:g} s (its log: {kept.command.log})")

    def _spawn(self, kept: _Kept) -> None:
        kept.process, kept.started_at = spawn(kept.command), time.monotonic()
        self._tell()

    def _running(self, name: str) -> subprocess.Popen[bytes]:
        kept = self._kept.get(name)
        if kept is None or kept.process is None or kept.process.poll() is not None:
            raise ProcessLookupError(f"{name} does not run")
        return kept.process

    def _pids(self) -> dict[str, int]:
        live = {name: kept.process for name, kept in self._kept.items() if kept.process is not None}
        return {name: process.pid for name, process in live.items() if process.poll() is None}

    def _tell(self) -> None:
        self._changed(self._pids())

    def _finish(self) -> None:
        for kept in self._kept.values():
            kept.wanted = False
        self._closing = True
