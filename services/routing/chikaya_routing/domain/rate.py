"""How often something public may be asked: one bucket of tokens for all callers."""

from collections.abc import Callable


class Limiter:
    """Lets `per_minute` calls through, a minute's worth of them at once after a rest.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, per_minute: int, now: Callable[[], float]) -> None:
        self._size, self._per_second, self._now = float(per_minute), per_minute / 60, now
        self._tokens, self._since = self._size, now()

    def wait_s(self) -> float:
        """0 when the call may pass, and is counted; else the seconds until one may."""
        now = self._now()
        self._tokens = min(self._size, self._tokens + (now - self._since) * self._per_second)
        self._since = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._per_second
        self._tokens -= 1
        return 0.0
