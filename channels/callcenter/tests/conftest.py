"""The console with services in memory, the real local identity provider, and an agent's browser."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from html import unescape
from typing import Any

import httpx
import pytest
from chikaya_callcenter.bootstrap import build
from chikaya_callcenter.settings import Settings
from fastapi import FastAPI

PROVIDER_PORT = 26110
SITE = "http://127.0.0.1:26106"
SECRET = "a-client-secret-for-tests"
FILLED = {
    "nature": "complaint",
    "text": "La lampe de la rue est éteinte depuis un mois.",
    "commune": "Rabat",
    "administration": "",
    "name": "Hassan Benali",
    "email": "",
    "phone": "0612345678",
    "language": "ar",
    "consent": "yes",
}


@pytest.fixture(scope="session")
def identity() -> Iterator[str]:
    """The local OpenID provider, running."""
    clients = {"callcenter": {"secret": SECRET, "redirect_uris": [f"{SITE}/login/callback"]}}
    environment = {**os.environ, "CHIKAYA_PORT": str(PROVIDER_PORT), "CHIKAYA_OIDC_CLIENTS": json.dumps(clients)}
    process = subprocess.Popen([sys.executable, "-m", "chikaya_local.identity"], env=environment)
    issuer = f"http://127.0.0.1:{PROVIDER_PORT}"
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None
            try:
                if httpx.get(f"{issuer}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                assert time.monotonic() < deadline
            time.sleep(0.05)
        yield issuer
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


class Console:
    """A console whose clock stands still until it is told."""

    def __init__(self, services: Any, client: httpx.AsyncClient, issuer: str) -> None:
        self.now: datetime = services.now
        self.process = build(
            Settings(
                channel_key="a-channel-key",
                session_secret="s" * 32,
                public_url=SITE,
                oidc_issuer=issuer,
                oidc_client_secret=SECRET,
                intake_url="http://intake",
                tracking_url="http://tracking",
                routing_url="http://routing",
            ),
            clock=lambda: self.now,
            http=client,
        )

    @property
    def app(self) -> FastAPI:
        return self.process.app

    @asynccontextmanager
    async def browser(self, language: str = "fr", sub: str | None = "agent@chikaya.local") -> AsyncIterator[Any]:
        """A browser; signed in as `sub`, over the provider, unless that is None."""

        async def with_origin(request: httpx.Request) -> None:
            if request.method == "POST":
                request.headers.setdefault("Origin", SITE)

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url=SITE,
            headers={"Accept": "text/html", "Accept-Language": language},
            event_hooks={"request": [with_origin]},
        ) as client:
            if sub:
                sent = await client.get("/login")
                async with httpx.AsyncClient() as outside:
                    clicked = await outside.post(sent.headers["location"], data={"sub": sub})
                assert (await client.get(clicked.headers["location"])).status_code == 303
            yield client


@pytest.fixture
def console(services: Any, to_services: httpx.AsyncClient, identity: str) -> Console:
    """The console."""
    return Console(services, to_services, identity)


@pytest.fixture
async def agent(console: Console) -> AsyncIterator[httpx.AsyncClient]:
    """A French-speaking agent's browser, signed in."""
    async with console.browser() as browser:
        yield browser


@pytest.fixture
def filled() -> dict[str, str]:
    """The form as an agent fills it in."""
    return dict(FILLED)


@pytest.fixture
def fields() -> Any:
    """Reads a page's hidden fields, as a browser would send them."""

    def hidden(page: str) -> dict[str, str]:
        found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)
        return {name: unescape(value) for name, value in found}

    return hidden
