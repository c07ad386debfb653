"""HTTP → domain, as JSON: what anybody may ask of the catalogue and the classifier, and triage for staff's programs."""

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.routing import RejectionReason
from chikaya_contracts.submission import Slug
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.http import Problem
from chikaya_servicekit.pages import Pages
from chikaya_servicekit.staff import Person, Staff
from chikaya_servicekit.validation import field_error
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from chikaya_routing import shown
from chikaya_routing.domain.catalogue import Edition
from chikaya_routing.domain.judgement import Nature, Submission
from chikaya_routing.domain.place_search import FoundPlace, PlaceSearch
from chikaya_routing.domain.rate import Limiter
from chikaya_routing.domain.routing import NotAllowed, Question, Settlement
from chikaya_routing.model import LiveModel
from chikaya_routing.stores import Item
from chikaya_routing.triage import PAGE, NotFound, Triage

SETTLES = ("triage", "coordinator")
READS = ("triage", "coordinator", "agent", "operator")
CACHED_S = 60
MOST_PLACES = 50
NOTE = 2_000
POSITION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00\|[0-9A-Za-z-]{1,80}")

Note = Annotated[str, StringConstraints(strip_whitespace=True, max_length=NOTE)]


@dataclass(frozen=True)
class Routing:
    """What routes are made of. `edition` gives the catalogue in force."""

    triage: Triage
    model: LiveModel
    edition: Callable[[], Edition]
    staff: Staff
    pages: Pages
    limiter: Limiter

    def names(self) -> shown.Names:
        """Names in the catalogue now in force."""
        return shown.Names(self.pages, self.edition())


class ToClassify(BaseModel):
    """A text, and where the matter is: an HCP code or words."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    text: Annotated[str, Field(min_length=5, max_length=10_000)]
    place: Annotated[str, Field(max_length=200)] = ""
    administration_wished: Slug | None = None
    nature: Nature = "complaint"


class ToSettle(BaseModel):
    """A triage officer's decision: `route` needs `administration`, `reject` a `reason`, `ask` a `question`."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["route", "reject", "ask"]
    administration: Slug | None = None
    reason: RejectionReason | None = None
    question: Question | None = None
    note: Note | None = None

    def settlement(self) -> Settlement:
        """Raises:
        Problem: 422, what the action needs is missing.
        """
        needed = {"route": "administration", "reject": "reason", "ask": "question"}[self.action]
        if not getattr(self, needed):
            raise Problem(422, "Données invalides · معطيات غير صالحة", errors=[field_error("missing", needed)])
        return Settlement(self.action, self.administration, self.reason, self.question, self.note or None)


def install(app: FastAPI, routing: Routing) -> None:
    """Adds all JSON routes, and what says no to an officer."""

    async def said(request: Request, status: int, key: str) -> Response:
        texts = routing.pages.texts[key]
        problem = Problem(status, " · ".join(texts[language] for language in ("fr", "ar")))
        # As whatever shows problems here shows them: pages to browsers, once pages are installed.
        response: Response = await request.app.exception_handlers[Problem](request, problem)
        return response

    @app.exception_handler(NotFound)
    async def _not_found(request: Request, error: NotFound) -> Response:
        return await said(request, 404, "refused.unknown")

    @app.exception_handler(NotAllowed)
    async def _not_allowed(request: Request, error: NotAllowed) -> Response:
        return await said(request, 422 if error.why == "administration" else 409, "refused." + error.why)

    app.include_router(_public(routing))
    app.include_router(_staff(routing))


def _public(routing: Routing) -> APIRouter:
    router = APIRouter(tags=["public"])

    @router.post("/v1/classify")
    async def classify(asked: ToClassify) -> dict[str, Any]:
        """How a text would be decided, and why. Nothing is kept."""
        if wait := routing.limiter.wait_s():
            raise Problem(
                429, "Trop de demandes · طلبات كثيرة", headers={"Retry-After": str(max(1, round(wait + 0.5)))}
            )
        classifier = routing.model.classifier
        submission = Submission(asked.text, asked.place, asked.administration_wished or "", asked.nature)
        (found,) = await asyncio.to_thread(classifier.judge, [submission])
        return shown.judgement(asdict(found), routing.names())

    @router.get("/v1/administrations")
    async def administrations(
        request: Request,
        kind: Literal["ministry", "department", "establishment", "commune"] | None = None,
        q: Annotated[str, Query(max_length=80)] = "",
    ) -> Response:
        """All that a complaint can be relayed to: ministries, departments and establishments; communes by name
        (`?kind=commune&q=`)."""
        edition = routing.edition()
        if not edition.version:
            raise DependencyDown("the catalogue is empty")
        tag = f'"{edition.version}-{hashlib.sha256(f"{kind} {q}".encode()).hexdigest()[:8]}"'
        headers = {"ETag": tag, "Cache-Control": f"public, max-age={CACHED_S}"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        rows = _communes(q, edition, routing.model.places) if kind == "commune" else _others(edition, kind, q)
        return JSONResponse(
            {"version": edition.version, "administrations": [_listed(row) for row in rows]}, 200, headers
        )

    @router.get("/v1/places")
    async def places(
        q: Annotated[str, Query(min_length=1, max_length=80)], limit: Annotated[int, Query(ge=1, le=MOST_PLACES)] = 10
    ) -> dict[str, Any]:
        """Communes whose French or Arabic name fits what a person has typed so far."""
        return {"places": [_place(one) for one in routing.model.places.find(q, limit)]}

    return router


def _communes(q: str, edition: Edition, places: PlaceSearch) -> list[AdministrationListed]:
    if not q.strip():
        raise Problem(422, "Données invalides · معطيات غير صالحة", errors=[field_error("missing", "q")])
    found = (edition.rows.get(one.commune.slug) for one in places.find(q, MOST_PLACES))
    return [row for row in found if row]


def _others(edition: Edition, kind: str | None, q: str) -> list[AdministrationListed]:
    wanted = q.strip().casefold()
    return [
        row
        for row in edition.rows.values()
        if row.kind != "commune"
        and kind in (None, row.kind)
        and wanted in f"{row.slug} {row.name_fr} {row.name_ar} {row.competence}".casefold()
    ]


def _listed(row: AdministrationListed) -> dict[str, Any]:
    return row.model_dump(mode="json", include={"slug", "name_fr", "name_ar", "kind", "parent", "competence"})


def _place(found: FoundPlace) -> dict[str, Any]:
    return {
        "code": found.commune.code,
        "slug": found.commune.slug,
        "name_fr": found.commune.name_fr,
        "name_ar": found.commune.name_ar,
        "province_fr": found.province_fr,
        "province_ar": found.province_ar,
    }


def _staff(routing: Routing) -> APIRouter:
    router = APIRouter(tags=["staff"])
    triage = routing.triage
    Settles = Annotated[Person, Depends(routing.staff.require(*SETTLES))]  # noqa: N806

    def whole(item: Item) -> Any:
        undo_until = triage.undo_until(item)
        return jsonable_encoder(shown.detail(item, routing.names()) | {"undo_until": undo_until})

    @router.get("/v1/triage")
    async def queue(_: Settles, after: str = "", limit: Annotated[int, Query(ge=1, le=200)] = PAGE) -> dict[str, Any]:
        """Complaints that wait for a person, longest first; `next` is the `after` of the next page. `more` says that
        there are more than `count`."""
        items, following = await triage.queue(read_after(after), limit)
        count, more = await triage.count()
        return {"count": count, "more": more, "items": [shown.summary(item) for item in items], "next": following}

    @router.get("/v1/triage/{complaint_id}")
    async def item(complaint_id: str, _: Settles) -> Any:
        """One complaint with what the classifier saw in it."""
        return whole(await triage.item(complaint_id))

    @router.post("/v1/triage/{complaint_id}/decision", status_code=202)
    async def settle(complaint_id: str, asked: ToSettle, person: Settles) -> Any:
        """Settles it. The decision is published at `release_at`, and can be undone until `undo_until`."""
        return whole(await triage.settle(complaint_id, person.sub, asked.settlement()))

    @router.delete("/v1/triage/{complaint_id}/decision")
    async def undo(complaint_id: str, person: Settles) -> Any:
        """Takes a decision back that is not published yet."""
        return whole(await triage.undo(complaint_id, person.sub))

    @router.get("/v1/complaints/{complaint_id}/explanation")
    async def explanation(
        complaint_id: str, _: Annotated[Person, Depends(routing.staff.require(*READS))]
    ) -> dict[str, Any]:
        """Every decision about a complaint, and what the classifier's rested on. By id or reference."""
        found, names = await triage.item(complaint_id), routing.names()
        return {
            "complaint_id": found.complaint.id,
            "reference": found.complaint.submission.reference,
            "status": found.status,
            "judgement": shown.judgement(found.judgement, names),
            "decisions": shown.decisions(found, names),
        }

    return router


def read_after(written: str) -> str | None:
    """Where a page begins, as `next` of the one before said it; None for the first page.

    Raises:
        Problem: 422, it was never given as `next`.
    """
    if written and not POSITION.fullmatch(written):
        raise Problem(422, "Données invalides · معطيات غير صالحة", errors=[field_error("value_error", "after")])
    return written or None
