"""A mail server and an SMS gateway that take everything and keep nothing: what is sent costs as little as can be.

Arguments: the ports of the mail server and of the gateway.
"""

import asyncio
import sys
from typing import cast

END_OF_MAIL = b"\r\n.\r\n"
TAKEN = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Mail(asyncio.Protocol):
    """RFC 5321, as far as a client that makes no mistakes needs it."""

    def __init__(self) -> None:
        self._buffer, self._in_data = b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._advance():
            pass

    def _advance(self) -> bool:
        """Takes one mail, or one line, from what has arrived; false when there is no more of it."""
        end = self._buffer.find(END_OF_MAIL if self._in_data else b"\r\n")
        if end < 0:
            return False
        if self._in_data:
            self._buffer, self._in_data = self._buffer[end + len(END_OF_MAIL) :], False
            self._transport.write(b"250 taken\r\n")
            return True
        verb, self._buffer = self._buffer[:4].upper(), self._buffer[end + 2 :]
        self._in_data = verb == b"DATA"
        if verb == b"QUIT":
            self._transport.write(b"221 bye\r\n")
            self._transport.close()
        else:
            self._transport.write(b"354 go on\r\n" if self._in_data else b"250 yes\r\n")
        return True


class Gateway(asyncio.Protocol):
    """HTTP/1.1 with a Content-Length: every request is taken."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._transport.write(TAKEN)


async def run(mail: int, gateway: int) -> None:
    """Serves until it is ended."""
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(Mail, "127.0.0.1", mail),
        await loop.create_server(Gateway, "127.0.0.1", gateway),
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), int(sys.argv[2])))
