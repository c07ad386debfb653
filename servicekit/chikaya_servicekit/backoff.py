"""How long to wait before trying again."""

import random
from collections.abc import Iterable

FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 10.0


def delays() -> Iterable[float]:
    """Seconds before each further try: doubling, with jitter, up to a limit."""
    delay = FIRST_DELAY_S
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(delay * 2, LONGEST_DELAY_S)
