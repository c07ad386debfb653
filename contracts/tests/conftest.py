"""What the contracts' tests share: the golden examples."""

import pytest
from chikaya_contracts import golden

EXAMPLES = list(golden.examples())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `example` runs for each golden example."""
    if "example" in metafunc.fixturenames:
        metafunc.parametrize("example", EXAMPLES, ids=[f"{one.type}/{one.name}" for one in EXAMPLES])
