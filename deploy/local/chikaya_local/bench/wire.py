"""HTTP/1.1 as bytes over kept connections: a client that costs little beside the server that it measures."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

END_OF_HEADERS = b"\r\n\r\n"
KEPT_S = 3.0
"""A connection that was idle for longer is not used again: uvicorn closes it after 5 s."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


def request(method: str, host: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """One request, whole, ready to be written."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + END_OF_HEADERS + body


class Connection(asyncio.Protocol):
    """One kept connection, on which one request is under way at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = bytearray()
        self._waiting: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(END_OF_HEADERS)
        if end < 0 or self._waiting is None:
            return
        head = bytes(self._buffer[:end]).lower()
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        whole = end + len(END_OF_HEADERS) + length
        if len(self._buffer) >= whole:
            answer = Answer(int(head[9:12]), bytes(self._buffer[end + len(END_OF_HEADERS) : whole]))
            del self._buffer[:whole]
            waiting, self._waiting = self._waiting, None
            if not waiting.done():
                waiting.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("the server hung up"))

    def ask(self, whole: bytes) -> "asyncio.Future[Answer]":
        """Writes a request; the future is its answer, or ConnectionError."""
        self._waiting = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            self._waiting.set_exception(ConnectionError("the server has hung up"))
        else:
            self._transport.write(whole)
        return self._waiting

    def close(self) -> None:
        """Hangs up."""
        if self._transport is not None:
            self._transport.close()


async def connect(host: str, port: int) -> Connection:
    """A new connection."""
    _, protocol = await asyncio.get_running_loop().create_connection(Connection, host, port)
    return protocol


class Pool:
    """Connections for callers that come at any time; each has one to itself for one request."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[tuple[float, Connection]] = []

    async def ask(self, whole: bytes) -> Answer:
        """The answer to a request.

        Raises:
            ConnectionError: the server hung up.
        """
        connection = self._kept() or await connect(self._host, self._port)
        answer = await connection.ask(whole)
        self._idle.append((time.monotonic(), connection))
        return answer

    def _kept(self) -> Connection | None:
        """A connection that the server keeps surely; those that it may be about to close are closed."""
        if self._idle and time.monotonic() - self._idle[-1][0] < KEPT_S:
            return self._idle.pop()[1]
        self.close()
        return None

    def close(self) -> None:
        """Hangs up."""
        for _, connection in self._idle:
            connection.close()
        self._idle.clear()
