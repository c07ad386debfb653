"""Pages that say what this is: the first page, privacy, accessibility."""

from collections.abc import Callable

from chikaya_servicekit.pages import Pages
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

PAGES = {"/": "home.html", "/privacy": "privacy.html", "/accessibility": "accessibility.html"}
INADMISSIBLE = ("court", "private", "police-report", "defence", "foreign")
"""Matters that decree 2-17-265 keeps out, as routing names them; each text says where to go instead."""


def router(pages: Pages) -> APIRouter:
    """Their routes."""
    router = APIRouter(include_in_schema=False)
    for path, template in PAGES.items():
        router.add_api_route(path, _shows(pages, template), methods=["GET"], response_class=HTMLResponse)
    return router


def _shows(pages: Pages, template: str) -> Callable[[Request], HTMLResponse]:
    def page(request: Request) -> HTMLResponse:
        return pages.render(request, template, {"inadmissible": INADMISSIBLE})

    return page
