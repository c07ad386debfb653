"""A whole system of its own for the journeys: real servers and every process, on ports that nothing else uses."""

from collections.abc import Iterator

import pytest
from chikaya_local.bootstrap import bring_up
from chikaya_local.stack import Settings, Stack, free_ports


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything that `make up` starts; triage's decisions rest 2 s instead of 60."""
    settings = Settings(more={"routing": {"TRIAGE_UNDO_S": "2"}})
    stack = Stack(tmp_path_factory.mktemp("journeys"), free_ports(), settings)
    try:
        bring_up(stack)
        yield stack
    finally:
        stack.stop_all()
