"""The portal with services in memory, and a browser for it."""

import re
from collections.abc import AsyncIterator
from datetime import datetime
from html import unescape
from typing import Any

import httpx
import pytest
from chikaya_portal.bootstrap import build
from chikaya_portal.settings import Settings
from fastapi import FastAPI

SITE = "http://127.0.0.1:26000"
FILLED = {
    "nature": "complaint",
    "text": "Le lampadaire de la rue est éteint depuis un mois.",
    "commune": "Rabat",
    "administration": "",
    "name": "Salma Idrissi",
    "email": "salma@example.ma",
    "phone": "0612345678",
    "language": "fr",
    "consent": "yes",
}


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page's forms, as a browser would send them."""
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)
    return {name: unescape(value) for name, value in found}


class Site:
    """A portal whose clock stands still until it is told."""

    def __init__(self, services: Any, client: httpx.AsyncClient, **settings: Any) -> None:
        self.now: datetime = services.now
        self.services = services
        self.process = build(
            Settings(
                channel_key="a-channel-key",
                session_secret="s" * 32,
                public_url=SITE,
                intake_url="http://intake",
                tracking_url="http://tracking",
                routing_url="http://routing",
                **settings,
            ),
            clock=lambda: self.now,
            http=client,
        )

    @property
    def app(self) -> FastAPI:
        return self.process.app

    def browser(self, language: str = "fr", address: str = "127.0.0.1") -> httpx.AsyncClient:
        """A browser as it asks: for pages, in a language, with an Origin on what it posts."""

        async def with_origin(request: httpx.Request) -> None:
            if request.method == "POST":
                request.headers.setdefault("Origin", SITE)

        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, client=(address, 50000)),
            base_url=SITE,
            headers={"Accept": "text/html", "Accept-Language": language},
            event_hooks={"request": [with_origin]},
        )


@pytest.fixture
def filled() -> dict[str, str]:
    """A form as a citizen fills it in."""
    return dict(FILLED)


@pytest.fixture
def make_site(services: Any, to_services: httpx.AsyncClient) -> Any:
    """Portals with settings of their own."""
    return lambda **settings: Site(services, to_services, **settings)


@pytest.fixture
def site(make_site: Any) -> Site:
    """The portal."""
    return make_site()


@pytest.fixture
async def browser(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    """A French browser."""
    async with site.browser() as client:
        yield client


@pytest.fixture
def fields() -> Any:
    """Reads a page's hidden fields."""
    return hidden
