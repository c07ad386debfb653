"""Filing a complaint: the form, the answers to check, the receipt. What was typed is carried by the pages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from chikaya_contracts.messages.channel import FieldError
from chikaya_sdk import CatalogueEntry, ChikayaError, Conflict, Intake, Refused, Routing, Unavailable
from chikaya_sdk import Receipt as GivenReceipt
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
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from .attachments import ACCEPTED, MOST, Attachments, Kept, Trouble
from .limits import Network, SlidingWindow, address
from .origin import refuse_other_sites

log = structlog.get_logger()

NATURES = ("complaint", "observation", "suggestion")
FILES_READ = 20
"""Files that are read from a form; more than may be kept, so that each of the rest is named."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What came with a form."""

    draft: Draft
    kept: tuple[Kept, ...]
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, slots=True)
class Filing:
    """The routes and what they need."""

    pages: Pages
    intake: Intake
    routing: Routing
    administrations: Remembered[list[CatalogueEntry]]
    attachments: Attachments
    receipts: SignedCookie
    filings: SlidingWindow
    files: SlidingWindow
    trusted: Sequence[Network]
    public_url: str

    def router(self) -> APIRouter:
        """All routes of filing."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/file", self.blank, methods=["GET"], response_model=None)
        router.add_api_route("/file/check", self.check, methods=["POST"], response_model=None)
        router.add_api_route("/file/edit", self.edit, methods=["POST"], response_model=None)
        router.add_api_route("/file", self.send, methods=["POST"], response_model=None)
        router.add_api_route("/receipt", self.receipt, methods=["GET"], response_model=None)
        return router

    async def blank(self, request: Request) -> Response:
        """The form, with a key of its own: sent twice, it is one complaint."""
        return await self._form(request, Gathered(Draft.new(self.pages.language(request)), (), ()))

    async def edit(self, request: Request) -> Response:
        """The form as it was filled in, to go on with."""
        return await self._form(request, await self._gathered(request))

    async def check(self, request: Request) -> Response:
        """Everything to read once more before it is sent; or the form, with what is wrong."""
        gathered = await self._gathered(request)
        located = await locate(gathered.draft, self.routing.places, ChikayaError)
        gathered = replace(gathered, draft=located.draft)
        errors = self._troubles(request, gathered.troubles)
        if located.outcome == "several":
            errors = {"commune": self._text(request, "file.commune_which")} | errors
        try:
            gathered.draft.submission([file.id for file in gathered.kept])
        except Incomplete as incomplete:
            errors = self._errors(request, incomplete.errors) | errors
        if errors:
            return await self._form(request, gathered, errors, located, status=422)
        return await self._checked(request, gathered, located)

    async def send(self, request: Request) -> Response:
        """Files the complaint."""
        gathered = await self._gathered(request)
        draft = gathered.draft
        if errors := self._troubles(request, gathered.troubles):
            return await self._form(request, gathered, errors, status=422)
        try:
            submission = draft.submission([file.id for file in gathered.kept])
        except Incomplete as incomplete:
            return await self._form(request, gathered, self._errors(request, incomplete.errors), status=422)
        if wait := self.filings.wait_s(address(request, self.trusted)):
            return await self._again(request, gathered, self._wait(request, wait), 429, wait)
        try:
            given = await self.intake.submit(submission, idempotency_key=draft.key)
        except Refused as refused:
            return await self._form(request, gathered, self._errors(request, by_field(refused.errors)), status=422)
        except Conflict:
            # Back, another text, sent again: a second complaint, if that is what is meant.
            other = replace(gathered, draft=replace(draft, key=Draft.new("").key))
            return await self._again(request, other, self._text(request, "check.already_sent"), 409)
        except ChikayaError as error:
            log.error("complaint not taken", error=type(error).__name__, status=error.problem.get("status"))
            wait = error.retry_after if isinstance(error, Unavailable) else 60.0
            return await self._again(request, gathered, self._text(request, "check.away"), 503, wait)
        response = RedirectResponse("/receipt", 303)
        self.receipts.keep(response, _kept_receipt(given, draft))
        return response

    async def receipt(self, request: Request) -> Response:
        """The reference, the access code and the deadlines, for as long as the cookie lasts."""
        kept = self.receipts.read(request)
        if kept is None:
            return self.pages.render(request, "receipt_gone.html", status=410)
        dates = {name: datetime.fromisoformat(kept[name]) for name in ("received_at", "relay", "answer")}
        return self.pages.render(request, "receipt.html", kept | dates)

    async def _gathered(self, request: Request) -> Gathered:
        """The form as it was sent. Files go to intake at once, so that nobody has to choose them twice."""
        refuse_other_sites(request, self.public_url, unknown=True)
        async with request.form(max_files=FILES_READ, max_fields=60) as form:
            removed = set(form.getlist("remove"))
            carried, troubles = self.attachments.carried(
                note for note in form.getlist("attachment") if isinstance(note, str) and note not in removed
            )
            uploads = _uploads(form)
            if uploads and self.files.wait_s(address(request, self.trusted), len(uploads)):
                return Gathered(
                    Draft.read(form), tuple(carried), (*troubles, *(Trouble(str(f.filename), "away") for f in uploads))
                )
            kept, more = await self.attachments.keep(uploads, MOST - len(carried))
            return Gathered(Draft.read(form), (*carried, *kept), (*troubles, *more))

    async def _form(
        self,
        request: Request,
        gathered: Gathered,
        errors: Mapping[str, str] | None = None,
        located: Located[Any] | None = None,
        status: int = 200,
    ) -> Response:
        context = {
            "draft": gathered.draft,
            "kept": gathered.kept,
            "errors": in_order(errors or {}),
            "natures": NATURES,
            "administrations": await self._administrations(request),
            "candidates": located.candidates if located else (),
            "own_words": OWN_WORDS,
            "accept": ACCEPTED,
            "most": MOST,
        }
        return self.pages.render(request, "file.html", context | self._other_language(request, "/file"), status)

    async def _checked(
        self,
        request: Request,
        gathered: Gathered,
        located: Located[Any] | None,
        notice: str = "",
        status: int = 200,
        retry_s: float = 0.0,
    ) -> Response:
        wished = dict(await self._administrations(request))
        context = {
            "draft": gathered.draft,
            "kept": gathered.kept,
            "place": located,
            "wished": wished.get(gathered.draft.administration, gathered.draft.administration),
            "notice": notice,
        }
        headers = {"Retry-After": str(math.ceil(retry_s))} if retry_s else {}
        context |= self._other_language(request, "/file")
        return self.pages.render(request, "check.html", context, status, headers)

    async def _again(
        self, request: Request, gathered: Gathered, notice: str, status: int, retry_s: float = 0.0
    ) -> Response:
        """The page with the answers and the button, and why it was not sent: one press sends it again."""
        located = await locate(gathered.draft, self.routing.places, ChikayaError)
        return await self._checked(request, gathered, located, notice, status, retry_s)

    async def _administrations(self, request: Request) -> list[tuple[str, str]]:
        return choices(await self.administrations.get(), self.pages.language(request))

    def _errors(self, request: Request, errors: Mapping[str, FieldError]) -> dict[str, str]:
        return told(errors, self.pages.texts, self.pages.language(request))

    def _troubles(self, request: Request, troubles: Sequence[Trouble]) -> dict[str, str]:
        language = self.pages.language(request)
        told = [self.pages.texts["trouble." + one.why][language].format(name=one.filename) for one in troubles]
        return {"files": " ".join(told)} if told else {}

    def _wait(self, request: Request, seconds: float) -> str:
        return self.pages.text(self.pages.language(request), "limit.wait", minutes=math.ceil(seconds / 60))

    def _text(self, request: Request, key: str) -> str:
        return self.pages.text(self.pages.language(request), key)

    def _other_language(self, request: Request, path: str) -> dict[str, str]:
        """Where the language link of the page's head leads; on a page that answers a form, to a page of its own."""
        if request.method == "GET":
            return {}
        other = "ar" if self.pages.language(request) == "fr" else "fr"
        return {"other_url": f"{path}?lang={other}"}


def _uploads(form: FormData) -> list[UploadFile]:
    return [file for file in form.getlist("files") if isinstance(file, UploadFile) and file.filename]


def _kept_receipt(given: GivenReceipt, draft: Draft) -> dict[str, str]:
    return {
        "reference": given.reference,
        "code": given.access_code,
        "received_at": given.received_at.isoformat(),
        "relay": given.deadlines["relay"].isoformat(),
        "answer": given.deadlines["answer"].isoformat(),
        "nature": draft.nature,
        "by": "both" if draft.email and draft.phone else "email" if draft.email else "phone",
    }
