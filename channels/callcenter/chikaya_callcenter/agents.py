"""Every page is for agents: who is signed in, and what happens when their token has ended."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlencode

from chikaya_sdk import ChikayaError
from chikaya_servicekit.staff import Person, Staff, staff_page
from fastapi import Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response


def signed_in(staff: Staff) -> Callable[..., Awaitable[None]]:
    """A dependency that lets agents in alone, and keeps who it is for the page."""
    allowed = staff.require("agent")

    async def keep(request: Request, person: Annotated[Person, Depends(allowed)]) -> None:
        request.state.person = person

    return keep


def person_of(request: Request) -> Person:
    """The agent of a request that `signed_in` has let in."""
    person: Person = request.state.person
    return person


async def not_allowed(request: Request, error: Exception) -> Response:
    """A service did not take the agent's token: it has ended (sign in again), or lacks the right."""
    status = error.problem.get("status") if isinstance(error, ChikayaError) else None
    if status != 401:
        return staff_page("refused", 403)
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "") if request.method == "GET" else "/"
    return RedirectResponse(f"/login?{urlencode({'next': back})}", 303)
