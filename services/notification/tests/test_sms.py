"""SMS on the local inbox's gateway, and on one that answers as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from chikaya_local.inbox.app import InboxSettings, create_app
from chikaya_notification.adapters.sms import Gateway
from chikaya_notification.domain.delivery import Away, Deferred, Refused

TOKEN = "a-token-for-tests-only"
TO, TEXT = "+212612345678", "تم تسجيل شكايتكم"


async def send(url: str, token: str = TOKEN) -> None:
    gateway = Gateway(url, token)
    try:
        await gateway.send("id", TO, TEXT)
    finally:
        await gateway.close()


@asynccontextmanager
async def answering(port: int, status: str, drop: bool = False) -> AsyncIterator[None]:
    """A gateway with one answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if not drop:
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield


@pytest.fixture
async def inbox(free_port: Callable[[], int], tmp_path: Path) -> AsyncIterator[str]:
    """The local inbox, serving."""
    port, smtp = free_port(), free_port()
    app = create_app(InboxSettings(port=port, smtp_port=smtp, sms_token=TOKEN, data_dir=tmp_path))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


async def test_the_gateway_keeps_an_sms_once_under_its_key(inbox: str) -> None:
    gateway = Gateway(f"{inbox}/sms", TOKEN)
    await gateway.send("id-1", TO, TEXT)
    await gateway.send("id-1", TO, TEXT)
    await gateway.send("id-2", TO, TEXT)
    async with httpx.AsyncClient(base_url=inbox) as client:
        kept = (await client.get("/api/messages", params={"to": TO})).json()["messages"]
        assert [(one["text"], one["repeat"]) for one in kept] == [(TEXT, False), (TEXT, True), (TEXT, False)]
        await client.put("/api/behaviour", json={"sms": "refuse"})
        with pytest.raises(Refused):
            await gateway.send("id-3", TO, TEXT)
        await client.put("/api/behaviour", json={"sms": "unavailable"})
        with pytest.raises(Away):
            await gateway.send("id-3", TO, TEXT)
    with pytest.raises(Away):
        await send(f"{inbox}/sms", "wrong")
    await gateway.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("400 Bad Request", Refused),
        ("422 Unprocessable Content", Refused),
        ("408 Request Timeout", Deferred),
        ("500 Internal Server Error", Deferred),
        ("401 Unauthorized", Away),
        ("404 Not Found", Away),
        ("429 Too Many Requests", Away),
        ("503 Service Unavailable", Away),
        ("302 Found", Away),
    ],
)
async def test_each_status_means_what_it_says(status: str, error: Any, free_port: Callable[[], int]) -> None:
    port = free_port()
    async with answering(port, status):
        with pytest.raises(error) as raised:
            await send(f"http://127.0.0.1:{port}/sms")
    assert str(raised.value) == f"the SMS gateway answered {status[:3]}"


async def test_no_gateway_is_away_and_one_that_hangs_up_defers(free_port: Callable[[], int]) -> None:
    port = free_port()
    with pytest.raises(Away):
        await send(f"http://127.0.0.1:{port}/sms")
    async with answering(port, "", drop=True):
        with pytest.raises(Deferred):
            await send(f"http://127.0.0.1:{port}/sms")
    with pytest.raises(Away):
        await send("no address")
