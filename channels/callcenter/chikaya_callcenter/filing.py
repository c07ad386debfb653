"""Filing for a caller: the form, the answers to read back, and what to read aloud afterwards."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from chikaya_contracts.messages.channel import FieldError
from chikaya_sdk import CatalogueEntry, ChikayaError, Conflict, Intake, Refused, Routing, Unavailable
from chikaya_servicekit.pages import Pages
from chikaya_servicekit.pages.cookies import SignedCookie
from chikaya_servicekit.pages.filing import (
    OWN_WORDS,
    Draft,
    Incomplete,
    Located,
    Remembered,
    by_field,
    choices,
    in_order,
    locate,
    told,
)
from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from .agents import person_of
from .aloud import NATURES, Aloud, letters

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Filing:
    """The routes and what they need. `filed` keeps what was filed last, for the page to read from."""

    pages: Pages
    intake: Intake
    routing: Routing
    administrations: Remembered[list[CatalogueEntry]]
    filed: SignedCookie

    def router(self, agents: Callable[..., Awaitable[None]]) -> APIRouter:
        """All routes of filing, for agents."""
        router = APIRouter(include_in_schema=False, dependencies=[Depends(agents)])
        router.add_api_route("/file", self.blank, methods=["GET"], response_model=None)
        router.add_api_route("/file/check", self.check, methods=["POST"], response_model=None)
        router.add_api_route("/file/edit", self.edit, methods=["POST"], response_model=None)
        router.add_api_route("/file", self.send, methods=["POST"], response_model=None)
        router.add_api_route("/filed", self.read_aloud, methods=["GET"], response_model=None)
        return router

    async def blank(self, request: Request, phone: str = "") -> Response:
        """The form, with the caller's number where it is known from the search."""
        return await self._form(request, Draft.new(self.pages.language(request), phone=phone[:30]))

    async def edit(self, request: Request) -> Response:
        """The form as it was filled in."""
        return await self._form(request, await self._draft(request))

    async def check(self, request: Request) -> Response:
        """Everything to read back to the caller; or the form, with what is wrong."""
        located = await locate(await self._draft(request), self.routing.places, ChikayaError)
        errors = {}
        if located.outcome == "several":
            errors["commune"] = self.pages.text(self.pages.language(request), "file.commune_which")
        try:
            located.draft.submission()
        except Incomplete as incomplete:
            errors = self._told(request, incomplete.errors) | errors
        if errors:
            return await self._form(request, located.draft, errors, located, 422)
        return await self._checked(request, located)

    async def send(self, request: Request) -> Response:
        """Files the complaint."""
        draft = await self._draft(request)
        try:
            submission = draft.submission()
        except Incomplete as incomplete:
            return await self._form(request, draft, self._told(request, incomplete.errors), status=422)
        try:
            given = await self.intake.submit(submission, idempotency_key=draft.key)
        except Refused as refused:
            return await self._form(request, draft, self._told(request, by_field(refused.errors)), status=422)
        except Conflict:
            other = replace(draft, key=Draft.new("").key)
            return await self._again(request, other, "check.already_sent", 409)
        except ChikayaError as error:
            log.error("complaint not taken", error=type(error).__name__, status=error.problem.get("status"))
            wait = error.retry_after if isinstance(error, Unavailable) else 60.0
            return await self._again(request, draft, "check.away", 503, wait)
        kept = {
            "by": person_of(request).sub,
            "reference": given.reference,
            "code": given.access_code,
            "relay": given.deadlines["relay"].isoformat(),
            "answer": given.deadlines["answer"].isoformat(),
            "language": draft.language,
        }
        response = RedirectResponse("/filed", 303)
        self.filed.keep(response, kept)
        return response

    async def read_aloud(self, request: Request) -> Response:
        """The script for the caller: reference, code, deadlines. Only for who has filed it."""
        person = person_of(request)
        kept = self.filed.read(request)
        if kept is None or kept["by"] != person.sub:
            return RedirectResponse("/", 303)
        relay, answer = (datetime.fromisoformat(kept[name]) for name in ("relay", "answer"))
        context = {
            "person": person,
            "reference": kept["reference"],
            "code": kept["code"],
            "letters": letters(kept["code"]),
            "scripts": Aloud(self.pages).receipt(kept["reference"], kept["code"], relay, answer, kept["language"]),
        }
        return self.pages.render(request, "filed.html", context)

    async def _draft(self, request: Request) -> Draft:
        return Draft.read(await request.form(max_files=0, max_fields=30))

    async def _form(
        self,
        request: Request,
        draft: Draft,
        errors: Mapping[str, str] | None = None,
        located: Located[Any] | None = None,
        status: int = 200,
    ) -> Response:
        language = self.pages.language(request)
        context = {
            "person": person_of(request),
            "draft": draft,
            "errors": in_order(errors or {}),
            "natures": NATURES,
            "administrations": choices(await self.administrations.get(), language),
            "candidates": located.candidates if located else (),
            "own_words": OWN_WORDS,
        }
        return self.pages.render(request, "file.html", context | self._other_language(request), status)

    async def _checked(
        self, request: Request, located: Located[Any], notice: str = "", status: int = 200, retry_s: float = 0.0
    ) -> Response:
        wished = dict(choices(await self.administrations.get(), self.pages.language(request)))
        context = {
            "person": person_of(request),
            "draft": located.draft,
            "place": located,
            "natures": NATURES,
            "wished": wished.get(located.draft.administration, located.draft.administration),
            "notice": notice,
        }
        headers = {"Retry-After": str(math.ceil(retry_s))} if retry_s else {}
        return self.pages.render(request, "check.html", context | self._other_language(request), status, headers)

    async def _again(self, request: Request, draft: Draft, notice: str, status: int, retry_s: float = 0.0) -> Response:
        """The answers and the button, and why it was not sent: one press sends it again."""
        located = await locate(draft, self.routing.places, ChikayaError)
        said = self.pages.texts[notice][self.pages.language(request)]
        return await self._checked(request, located, said, status, retry_s)

    def _told(self, request: Request, errors: Mapping[str, FieldError]) -> dict[str, str]:
        return told(errors, self.pages.texts, self.pages.language(request))

    def _other_language(self, request: Request) -> dict[str, str]:
        """Where the language link leads: on a page that answers a form, to a page of its own."""
        if request.method == "GET":
            return {}
        return {"other_url": f"/file?lang={'ar' if self.pages.language(request) == 'fr' else 'fr'}"}
