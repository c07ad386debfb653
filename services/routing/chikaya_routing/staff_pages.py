"""Triage as pages: the queue, a complaint with its reasons, and the forms that settle it. No script is needed."""

from typing import Annotated, Any

from chikaya_servicekit.http import Problem
from chikaya_servicekit.staff import Person
from fastapi import APIRouter, Depends, FastAPI, Form, Request
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from starlette.responses import Response

from chikaya_routing import shown
from chikaya_routing.api import SETTLES, Routing, ToSettle, read_after
from chikaya_routing.domain.catalogue import Edition
from chikaya_routing.domain.routing import QUESTIONS, REASONS, NotAllowed
from chikaya_routing.stores import Item
from chikaya_routing.triage import is_settled

COMMUNES_SHOWN = 12


def install(app: FastAPI, routing: Routing) -> None:
    """Adds sign-in, the pages and their forms, and shows problems as pages."""
    app.include_router(routing.staff.router)
    app.include_router(_router(routing))
    routing.pages.install(app)


def _router(routing: Routing) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    triage, pages = routing.triage, routing.pages
    Settles = Annotated[Person, Depends(routing.staff.require(*SETTLES))]  # noqa: N806

    def page(request: Request, item: Item, person: Person, commune: str, status: int, **more: Any) -> Response:
        detail = shown.detail(item, routing.names())
        words = [one["word"] for one in detail["judgement"]["words"]]
        places = routing.model.places
        context = {
            "person": person,
            "item": detail,
            "marked": lambda text: shown.marked(text, words),
            "mine": not is_settled(item) and item.held_by == person.sub,
            "settled": is_settled(item),
            "seconds_left": triage.seconds_left(item),
            "administrations": [row for row in routing.edition().rows.values() if row.kind != "commune"],
            "commune": commune,
            "communes": places.find(commune, COMMUNES_SHOWN) if commune else [],
            "reasons": REASONS,
            "questions": QUESTIONS if item.status == "triage" else (),
            "errors": {},
            "note": "",
            **more,
        }
        return pages.render(request, "item.html", context, status)

    @router.get("/")
    async def home() -> Response:
        return RedirectResponse("/triage", 303)

    @router.get("/triage")
    async def queue(request: Request, person: Settles, after: str = "", settled: str = "") -> Response:
        """The queue; `settled` is the complaint that was settled just now."""
        items, following = await triage.queue(read_after(after))
        resting = [(item, left) for item in await triage.resting() if (left := triage.seconds_left(item))]
        count, more = await triage.count()
        context = {
            "person": person,
            "items": [shown.summary(item) for item in items],
            "count": count,
            "more": more,
            "resting": [shown.detail(item, routing.names()) | {"seconds_left": left} for item, left in resting],
            "settled": settled,
            "next": following,
            "first": not after,
        }
        return pages.render(request, "queue.html", context)

    @router.get("/triage/{complaint_id}")
    async def item(complaint_id: str, request: Request, person: Settles, commune: str = "") -> Response:
        """A complaint, held for who opens it. `commune` is what was typed into the search for one."""
        return page(request, await triage.open(complaint_id, person.sub), person, commune, 200)

    @router.post("/triage/{complaint_id}/decision")
    async def settle(
        complaint_id: str,
        request: Request,
        person: Settles,
        action: Annotated[str, Form()],
        administration: Annotated[str, Form()] = "",
        reason: Annotated[str, Form()] = "",
        question: Annotated[str, Form()] = "",
        note: Annotated[str, Form()] = "",
    ) -> Response:
        """Settles it; back to the queue, where it can be undone."""
        lang = pages.language(request)
        needed = {"route": "administration", "reject": "reason", "ask": "question"}.get(action, "action")
        slug = chosen(administration, routing.edition())
        try:
            asked = ToSettle.model_validate(
                {
                    "action": action,
                    "administration": slug if action == "route" else None,
                    "reason": reason if action == "reject" else None,
                    "question": question if action == "ask" else None,
                    "note": note or None,
                }
            )
            await triage.settle(complaint_id, person.sub, asked.settlement())
        except (ValidationError, Problem, NotAllowed) as error:
            if isinstance(error, NotAllowed) and error.why != "administration":
                raise
            wrong = "note" if isinstance(error, ValidationError) and error.errors()[0]["loc"] == ("note",) else needed
            errors = {wrong: pages.texts["wrong." + wrong][lang]}
            found = await triage.open(complaint_id, person.sub)
            return page(request, found, person, "", 422, errors=errors, note=note)
        return RedirectResponse(f"/triage?settled={complaint_id}", 303)

    @router.post("/triage/{complaint_id}/undo")
    async def undo(complaint_id: str, person: Settles) -> Response:
        """Takes the decision back; the complaint is open again before who did so."""
        await triage.undo(complaint_id, person.sub)
        return RedirectResponse(f"/triage/{complaint_id}", 303)

    @router.post("/triage/{complaint_id}/leave")
    async def leave(complaint_id: str, person: Settles) -> Response:
        """Back to the queue; another may have it."""
        await triage.leave(complaint_id, person.sub)
        return RedirectResponse("/triage", 303)

    return router


def chosen(written: str, edition: Edition) -> str | None:
    """The slug that is meant: a slug, or a name in French or Arabic as the list offers it; None for neither."""
    written = written.strip()
    if written in edition.rows:
        return written
    wanted = written.casefold()
    named = [row.slug for row in edition.rows.values() if wanted in (row.name_fr.casefold(), row.name_ar)]
    return named[0] if len(named) == 1 else None
