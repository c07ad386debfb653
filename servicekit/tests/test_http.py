"""HTTP of every process: what strangers send is refused, not failed on."""

import json
from typing import Any

import httpx
import pytest
from chikaya_contracts.submission import Submission
from chikaya_servicekit import http
from chikaya_servicekit.validation import LONGEST_PATH, MOST
from fastapi import FastAPI

RIGHT: dict[str, Any] = {"text": "Une rue", "contact": {"name": "Nadia", "phone": "0600000090"}, "consent": True}


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI()
    http.install(app, "tests", (), largest_body=200_000, apart_from=["/large"])

    @app.post("/small")
    @app.post("/large")
    async def take(submission: Submission) -> None:
        """Nothing is done with it."""

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def send(client: httpx.AsyncClient, path: str, body: Any) -> httpx.Response:
    return await client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})


async def test_what_is_said_of_mistakes_stays_short(client: httpx.AsyncClient) -> None:
    long = await send(client, "/small", RIGHT | {"x" * 100_000: 1})
    many = await send(client, "/small", RIGHT | {str(number): 1 for number in range(5_000)})
    assert long.json()["errors"][0]["field"] == "x" * LONGEST_PATH
    assert len(many.json()["errors"]) == MOST


async def test_a_request_that_is_too_large_is_refused_while_it_arrives(client: httpx.AsyncClient) -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        for _ in range(100):
            read += 10_000
            yield b"x" * 10_000

    answer = await client.post("/small", content=endless(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, read < 300_000) == (413, True)
    assert (await send(client, "/large", RIGHT | {"x" * 300_000: 1})).status_code == 422
