"""How often one address may do something, and how much it may send."""

from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from fastapi import Request

Network = IPv4Network | IPv6Network

ADDRESSES = 20_000
"""Addresses remembered at most; the one that has been idle longest is forgotten first."""


class SlidingWindow:
    """Lets each address do something `most` times in any `window_s` seconds. In this process's memory: each instance
    counts by itself.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, most: int, window_s: float, now: Callable[[], float]) -> None:
        self._most, self._window_s, self._now = most, window_s, now
        self._done: dict[str, deque[float]] = {}

    def wait_s(self, address: str, count: int = 1) -> float:
        """0 when it may be done `count` times now, and then it is counted; else the seconds until it may."""
        now = self._now()
        done = self._done.pop(address, deque[float]())
        while done and done[0] <= now - self._window_s:
            done.popleft()
        passes = len(done) + count <= self._most
        if passes:
            done.extend([now] * count)
        if done:
            self._done[address] = done
        while len(self._done) > ADDRESSES:
            del self._done[next(iter(self._done))]
        return 0.0 if passes else (done[0] + self._window_s - now if done else self._window_s)


def networks(written: str) -> tuple[Network, ...]:
    """Networks from a setting, comma between.

    Raises:
        ValueError: one is no address or network.
    """
    return tuple(ip_network(part.strip(), strict=False) for part in written.split(",") if part.strip())


def address(request: Request, trusted: Sequence[Network]) -> str:
    """Whose request it is: the nearest address that is no trusted proxy's; of IPv6 the network that one line has."""
    hops = [request.client.host if request.client else ""]
    forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
    hops += [hop.strip() for hop in reversed(forwarded.split(",")) if hop.strip()]
    for hop in hops:
        try:
            found = ip_address(hop)
        except ValueError:
            return hop[:60]
        if not any(found in network for network in trusted):
            return str(ip_network(f"{found}/64", strict=False)) if isinstance(found, IPv6Address) else str(found)
    return hops[-1]
