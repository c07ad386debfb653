"""Wires the portal together, by hand, in one place."""

import asyncio
import time

import httpx
from chikaya_sdk import ChikayaError, Intake, Routing, Tracking, Unavailable
from chikaya_sdk.rest import Options
from chikaya_servicekit.clock import Clock, utc_now
from chikaya_servicekit.pages import Pages
from chikaya_servicekit.pages.cookies import SignedCookie
from chikaya_servicekit.pages.filing import Remembered
from chikaya_servicekit.process import Process
from fastapi.staticfiles import StaticFiles

from . import about
from .attachments import MOST, MOST_BYTES, Attachments
from .filing import Filing
from .following import Following
from .limits import SlidingWindow, networks
from .settings import Settings

RECEIPT_S = 1800
LARGEST_FORM = 2 * MOST * MOST_BYTES
"""Bytes; twice what may be attached, so that files that are too large are told by name and not by a refusal."""


def build(settings: Settings, clock: Clock = utc_now, http: httpx.AsyncClient | None = None) -> Process:
    """The portal, ready to be served.

    Args:
        http: speaks to the services in place of the portal's own client.
    """
    process = Process(settings, "Portal", transient=(Unavailable,), kafka=False, clock=clock, largest_body=LARGEST_FORM)
    client = http or httpx.AsyncClient(timeout=httpx.Timeout(15, connect=2))
    options = Options(http=client, sleep=_briefly)
    intake = Intake(settings.intake_url, settings.channel_key.get_secret_value(), **options)
    routing, tracking = Routing(settings.routing_url, **options), Tracking(settings.tracking_url, **options)
    pages = Pages(__package__)
    secret = settings.session_secret.get_secret_value()
    trusted = networks(settings.trusted_proxies)

    def seconds() -> float:
        return clock().timestamp()

    def cookie(name: str, life_s: int) -> SignedCookie:
        return SignedCookie(f"chikaya-portal-{name}", secret, settings.public_url, life_s, seconds)

    filing = Filing(
        pages=pages,
        intake=intake,
        routing=routing,
        administrations=Remembered(routing.administrations, ChikayaError, []),
        attachments=Attachments(intake, secret, seconds),
        receipts=cookie("receipt", RECEIPT_S),
        filings=SlidingWindow(settings.filings_per_hour, 3600, time.monotonic),
        files=SlidingWindow(settings.files_per_hour, 3600, time.monotonic),
        trusted=trusted,
        public_url=settings.public_url,
    )
    following = Following(
        pages=pages,
        tracking=tracking,
        session=cookie("case", settings.session_s),
        openings=SlidingWindow(settings.openings_per_10_minutes, 600, time.monotonic),
        trusted=trusted,
        public_url=settings.public_url,
        clock=clock,
    )
    pages.install(process.app)
    process.app.mount("/portal", StaticFiles(packages=[(__package__, "static")]), name="portal")
    process.app.include_router(about.router(pages))
    process.app.include_router(filing.router())
    process.app.include_router(following.router())
    process.on_stop(client.aclose)
    return process


async def _briefly(seconds: float) -> None:
    """A citizen waits: a service that is away is asked again soon or not at all, and the page says so."""
    await asyncio.sleep(min(seconds, 0.5))
