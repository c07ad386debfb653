"""A whole system of its own, under load, for the faults in their short form."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from chikaya_local.bootstrap import bring_up
from chikaya_local.faults.run import Run, stack_for
from chikaya_local.report import Report
from chikaya_local.stack import free_ports

RATE = 15.0


@pytest.fixture(scope="session")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    """The stack that faults are done to; a failed test prints the seed."""
    stack = stack_for(tmp_path_factory.mktemp("faults"), free_ports(instances=2), Report())
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    try:
        await asyncio.to_thread(bring_up, stack)
        async with Run(stack, rate=RATE, seed=seed) as run:
            yield run
    finally:
        await asyncio.to_thread(stack.stop_all)
