"""Wires the 3737 console together, by hand, in one place."""

import asyncio

import httpx
from chikaya_sdk import CatalogueEntry, ChikayaError, Intake, NotAllowed, Routing, Tracking, Unavailable
from chikaya_sdk.rest import Options
from chikaya_servicekit.clock import Clock, utc_now
from chikaya_servicekit.pages import Pages
from chikaya_servicekit.pages.cookies import SignedCookie
from chikaya_servicekit.pages.filing import Remembered
from chikaya_servicekit.process import Process
from chikaya_servicekit.staff import Staff
from fastapi.staticfiles import StaticFiles

from .agents import not_allowed, signed_in
from .cases import Cases
from .filing import Filing
from .settings import Settings

FILED_S = 1800


def build(settings: Settings, clock: Clock = utc_now, http: httpx.AsyncClient | None = None) -> Process:
    """The console, ready to be served.

    Args:
        http: speaks to the services in place of the console's own client.
    """
    process = Process(settings, "3737", transient=(Unavailable,), kafka=False, clock=clock)
    client = http or httpx.AsyncClient(timeout=httpx.Timeout(15, connect=2))
    options = Options(http=client, sleep=_briefly)
    intake = Intake(settings.intake_url, settings.channel_key.get_secret_value(), **options)
    routing, tracking = Routing(settings.routing_url, **options), Tracking(settings.tracking_url, **options)
    pages = Pages(__package__)
    filed = SignedCookie(
        "chikaya-callcenter-filed",
        settings.session_secret.get_secret_value(),
        settings.public_url,
        FILED_S,
        lambda: clock().timestamp(),
    )
    administrations = Remembered(routing.administrations, ChikayaError, list[CatalogueEntry]())
    staff = Staff(settings)
    agents = signed_in(staff)
    process.app.add_exception_handler(NotAllowed, not_allowed)
    pages.install(process.app)
    process.app.mount("/callcenter", StaticFiles(packages=[(__package__, "static")]), name="callcenter")
    process.app.include_router(staff.router)
    process.app.include_router(Filing(pages, intake, routing, administrations, filed).router(agents))
    process.app.include_router(Cases(pages, tracking).router(agents))
    process.on_stop(client.aclose)
    return process


async def _briefly(seconds: float) -> None:
    """A caller waits on the line: a service that is away is asked again soon or not at all, and the page says so."""
    await asyncio.sleep(min(seconds, 0.5))
