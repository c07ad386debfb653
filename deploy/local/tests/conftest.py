"""A stack of the tests' own, on ports and in a directory that nobody else uses."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chikaya_local.programs import Program
from chikaya_local.report import Report
from chikaya_local.stack import Settings, Stack, free_ports
from rich.console import Console

INBOX = Program("inbox", "chikaya_local.inbox", "inbox", secrets=("sms_token",))


@pytest.fixture
def report() -> Iterator[Report]:
    """What would be printed; read it with `report.console.export_text()`."""
    with Path(os.devnull).open("w") as nowhere:
        yield Report(Console(file=nowhere, record=True, width=200))


@pytest.fixture
def small(tmp_path: Path, report: Report) -> Iterator[Stack]:
    """A stack whose only process is the local inbox; nothing runs yet."""
    stack = Stack(tmp_path / "stack", free_ports(21_000, 21_900), programs=(INBOX,), report=report)
    yield stack
    stack.stop_all()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka and the database, running."""
    stack = Stack(tmp_path_factory.mktemp("servers"), free_ports(21_000, 21_900), Settings(), programs=(INBOX,))
    with stack.servers():
        yield stack
