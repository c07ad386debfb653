"""How fast one channel may send: a bucket of tokens for each."""

from collections.abc import Callable


class Limiter:
    """Lets each caller make `per_minute` requests, a minute's worth of them at once after a rest.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, per_minute: int, now: Callable[[], float]) -> None:
        self._size, self._per_second, self._now = float(per_minute), per_minute / 60, now
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait_s(self, caller: str) -> float:
        """0 when the request may pass, and is counted; else the seconds until one may."""
        now = self._now()
        tokens, since = self._buckets.get(caller, (self._size, now))
        tokens = min(self._size, tokens + (now - since) * self._per_second)
        passes = tokens >= 1
        self._buckets[caller] = (tokens - 1 if passes else tokens, now)
        return 0.0 if passes else (1 - tokens) / self._per_second
