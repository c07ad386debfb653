"""What the person at the terminal sees while things start: a line for what is done, a bar for what is long."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Task:
    """A long thing under way."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress, self._task = progress, task

    def advance(self, amount: float) -> None:
        """`amount` more of the total is done."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, amount)

    def describe(self, text: str) -> None:
        """Says what it is busy with now; shown on a terminal only."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text)


class Report:
    """Prints to `console`; several threads may report at once. A terminal that is gone is no reason to fail."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._lock, self._active, self._progress = threading.Lock(), 0, self._new_progress()

    def line(self, text: str) -> None:
        """One line, with Rich's markup."""
        with suppress(OSError):
            self.console.print(text, highlight=False, soft_wrap=True)

    @contextmanager
    def task(self, what: str, total: float | None = None) -> Iterator[Task]:
        """Shows `what` while the block runs, and its time when it has succeeded."""
        begun = time.monotonic()
        if self.console.is_terminal:
            with self._lock:
                self._active += 1
                if self._active == 1:
                    self._progress = self._new_progress()
                    self._progress.start()
                progress, task = self._progress, self._progress.add_task(what, total=total)
            try:
                yield Task(progress, task)
            finally:
                with self._lock, suppress(OSError):
                    progress.remove_task(task)
                    self._active -= 1
                    if self._active == 0:
                        progress.stop()
        else:
            self.line(f"{what} …")
            yield Task(None, None)
        self.line(f"[green]✓[/] {what} [dim]{time.monotonic() - begun:.1f} s[/]")

    def _new_progress(self) -> Progress:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
        return Progress(*columns, console=self.console, transient=True)
