"""Following a complaint: opened with reference and access code, read, answered, rated, withdrawn, reopened."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from chikaya_contracts import access, reference, states
from chikaya_contracts.ids import new_id
from chikaya_contracts.writing import plain
from chikaya_sdk import Case, Conflict, NotFound, Refused, TooManyTries, Tracking, Unavailable
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.pages import Pages
from chikaya_servicekit.pages.cookies import SignedCookie
from chikaya_servicekit.pages.filing import by_field
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from .limits import Network, SlidingWindow, address
from .origin import refuse_other_sites

log = structlog.get_logger()

Kind = Literal["answer-question", "supplement", "withdraw", "rate", "reopen"]
TEXT_FIELDS: dict[str, str] = {
    "answer-question": "answer",
    "supplement": "addition",
    "withdraw": "why",
    "rate": "comment",
    "reopen": "reason",
}
"""The field of each request's words: several forms stand on one page."""
TEXT_NEEDED = ("answer-question", "supplement", "reopen")

STEPS = ("received", "routed", "in_progress", "answered", "closed")
"""The line of progress. Every other state lies at one of these, or leaves the line."""
STEP_OF = {
    "triage": "received",
    "transfer_requested": "received",
    "acknowledged": "routed",
    "waiting_for_citizen": "in_progress",
    "reopened": "in_progress",
}
ENDED = ("rejected", "withdrawn")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the line: its state, and whether it is `done`, `now` or still `ahead`."""

    state: str
    place: Literal["done", "now", "ahead"]


def progress(state: str, asked_by: str | None = None) -> list[Step]:
    """Where a case is on its line; one that has ended early stops where it did. A state that is not known yet gives no
    line."""
    if state in ENDED:
        return [Step("received", "done"), Step(state, "now")]
    # Asked by the triage officer, the case has not left yet.
    at = "received" if state == "waiting_for_citizen" and asked_by == "triage" else STEP_OF.get(state, state)
    if at not in STEPS:
        return []
    here = STEPS.index(at)
    return [Step(step, "done" if i < here else "now" if i == here else "ahead") for i, step in enumerate(STEPS)]


@dataclass(frozen=True, slots=True)
class Following:
    """The routes and what they need. `session` keeps the reference and the code of the case that is open."""

    pages: Pages
    tracking: Tracking
    session: SignedCookie
    openings: SlidingWindow
    trusted: Sequence[Network]
    public_url: str
    clock: Clock

    def router(self) -> APIRouter:
        """All routes of following."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/follow", self.ask, methods=["GET"], response_model=None)
        router.add_api_route("/follow", self.open, methods=["POST"], response_model=None)
        router.add_api_route("/case", self.case, methods=["GET"], response_model=None)
        router.add_api_route("/case/withdraw", self.confirm, methods=["GET"], response_model=None)
        router.add_api_route("/case/{kind}", self.request, methods=["POST"], response_model=None)
        router.add_api_route("/leave", self.leave, methods=["POST"], response_model=None)
        return router

    async def ask(self, request: Request, reference: str = "", left: str = "", ended: str = "") -> Response:
        """The form; a link in a mail fills in the reference."""
        notice = "follow.left" if left else "follow.ended" if ended else ""
        return self._form(request, reference[:40], "", notice=notice)

    async def open(self, request: Request) -> Response:
        """Opens the case, if the code is its own."""
        refuse_other_sites(request, self.public_url, unknown=True)
        form = await request.form(max_files=0, max_fields=10)
        written, code = _typed(form, "reference")[:60], _typed(form, "code")[:60]
        errors = {
            name: self._text(request, key)
            for name, key in (("reference", _wrong_reference(written)), ("code", _wrong_code(code)))
            if key
        }
        if errors:
            return self._form(request, written, code, errors, status=422)
        if wait := self.openings.wait_s(address(request, self.trusted)):
            return self._too_many(request, written, wait)
        digits, code = reference.parse(written), access.normalised(code)
        try:
            await self.tracking.case(digits, code)
        except NotFound:
            return self._form(request, written, code, {"code": self._text(request, "follow.unknown")}, status=404)
        except TooManyTries as error:
            return self._too_many(request, written, error.retry_after)
        response = RedirectResponse("/case", 303)
        self.session.keep(response, {"reference": digits, "code": code})
        return response

    async def case(self, request: Request, asked: str = "", id: str = "") -> Response:
        """The case that is open; `asked` and `id` are a request that was just made, and what became of it."""
        opened = self.session.read(request)
        if opened is None:
            return RedirectResponse("/follow?ended=1", 303)
        outcome = None
        try:
            if asked in TEXT_FIELDS and id:
                outcome = await self.tracking.outcome(opened["reference"], opened["code"], id[:60])
            case = await self.tracking.case(opened["reference"], opened["code"])
        except NotFound:
            return self._closed()
        except TooManyTries as error:
            return self._too_many(request, opened["reference"], error.retry_after)
        return self._shown(request, case, opened, {"outcome": outcome, "asked": asked})

    async def confirm(self, request: Request) -> Response:
        """Asks once more before a complaint is withdrawn."""
        opened = self.session.read(request)
        if opened is None:
            return RedirectResponse("/follow?ended=1", 303)
        try:
            case = await self.tracking.case(opened["reference"], opened["code"])
        except NotFound:
            return self._closed()
        if "withdraw" not in case.allowed:
            return RedirectResponse("/case", 303)
        return self.pages.render(request, "withdraw.html", {"case": case, "key": new_id(), "errors": {}, "typed": {}})

    async def request(self, request: Request, kind: Kind) -> Response:
        """Asks something of the case, and waits a moment for what becomes of it."""
        refuse_other_sites(request, self.public_url, unknown=False)
        opened = self.session.read(request)
        if opened is None:
            return RedirectResponse("/follow?ended=1", 303)
        form = await request.form(max_files=0, max_fields=10)
        field = TEXT_FIELDS[kind]
        text, score = _typed(form, field).replace("\r\n", "\n"), _typed(form, "score")
        typed = {field: text, "score": score}
        errors = {}
        if kind in TEXT_NEEDED and not text:
            errors[field] = self._text(request, "error.words")
        if kind == "rate" and score not in ("1", "2", "3", "4", "5"):
            errors["score"] = self._text(request, "error.score")
        if not errors:
            try:
                asked = await self.tracking.request(
                    opened["reference"],
                    opened["code"],
                    kind,
                    text or None,
                    int(score) if kind == "rate" else None,
                    idempotency_key=_typed(form, "key")[:60] or None,
                )
                await self.tracking.settled(opened["reference"], opened["code"], asked.request_id)
            except Refused as refused:
                language = self.pages.language(request)
                found = by_field(refused.errors).items()
                errors = {
                    field if name == "text" else name: str(getattr(error, f"message_{language}"))
                    for name, error in found
                }
            except Conflict as conflict:
                return await self._with(request, opened, typed, notice=self._why(request, conflict), status=409)
            except NotFound:
                return self._closed()
            except TooManyTries as error:
                wait = self._wait(request, error.retry_after)
                return await self._with(request, opened, typed, notice=wait, status=429)
            except Unavailable as away:
                kept = {"kind": kind, "field": field, "text": text, "score": score, "key": _typed(form, "key")}
                headers = {"Retry-After": str(math.ceil(away.retry_after))}
                return self.pages.render(request, "again.html", kept, 503, headers)
            else:
                return RedirectResponse(f"/case?asked={kind}&id={asked.request_id}", 303)
        return await self._with(request, opened, typed, errors=errors, status=422)

    async def leave(self, request: Request) -> Response:
        """Ends the session: on a shared computer nobody else reads the case."""
        refuse_other_sites(request, self.public_url, unknown=False)
        response = RedirectResponse("/follow?left=1", 303)
        self.session.forget(response)
        return response

    async def _with(
        self,
        request: Request,
        opened: Mapping[str, str],
        typed: Mapping[str, str],
        errors: Mapping[str, str] | None = None,
        notice: str = "",
        status: int = 200,
    ) -> Response:
        """The case again, with what was typed and what is wrong."""
        case = await self.tracking.case(opened["reference"], opened["code"])
        return self._shown(
            request, case, opened, {"typed": typed, "errors": dict(errors or {}), "notice": notice}, status
        )

    def _shown(
        self, request: Request, case: Case, opened: Mapping[str, str], more: Mapping[str, Any], status: int = 200
    ) -> Response:
        known = {**states.states()}
        is_open = case.state in known and known[case.state].open
        asked_by = case.question.asked_by if case.question else None
        context = {
            "case": case,
            "steps": progress(case.state, asked_by),
            "states": known,
            "open": is_open,
            "relayed": any(line.type == "routed" for line in case.history),
            "late": is_open and not case.deadlines.paused and self.clock() > case.deadlines.answer,
            "history": list(reversed(case.history)),
            "known_events": {key.removeprefix("event.") for key in self.pages.texts if key.startswith("event.")},
            "known_reasons": {key.removeprefix("rejection.") for key in self.pages.texts},
            "key": new_id(),
            "typed": {},
            "errors": {},
            "notice": "",
            "outcome": None,
            "asked": "",
            **more,
        }
        if request.method == "POST":
            context["other_url"] = f"/case?lang={'ar' if self.pages.language(request) == 'fr' else 'fr'}"
        response = self.pages.render(request, "case.html", context, status)
        self.session.keep(response, opened)
        return response

    def _form(
        self,
        request: Request,
        written: str,
        code: str,
        errors: Mapping[str, str] | None = None,
        notice: str = "",
        warning: str = "",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        context: dict[str, Any] = {"reference": written, "code": code, "errors": dict(errors or {})}
        context |= {"notice": notice, "warning": warning}
        if request.method == "POST":
            context["other_url"] = f"/follow?lang={'ar' if self.pages.language(request) == 'fr' else 'fr'}"
        return self.pages.render(request, "follow.html", context, status, headers)

    def _too_many(self, request: Request, written: str, seconds: float) -> Response:
        return self._form(
            request,
            written,
            "",
            warning=self._wait(request, seconds),
            status=429,
            headers={"Retry-After": str(math.ceil(seconds))},
        )

    def _closed(self) -> Response:
        response = RedirectResponse("/follow?ended=1", 303)
        self.session.forget(response)
        return response

    def _why(self, request: Request, conflict: Conflict) -> str:
        """Why the case does not allow it, as tracking says it."""
        if not conflict.errors:
            return self._text(request, "case.not_possible")
        return str(getattr(conflict.errors[0], f"message_{self.pages.language(request)}"))

    def _wait(self, request: Request, seconds: float) -> str:
        return self.pages.text(self.pages.language(request), "limit.wait", minutes=math.ceil(seconds / 60))

    def _text(self, request: Request, key: str) -> str:
        return self.pages.text(self.pages.language(request), key)


def _typed(form: Mapping[str, Any], name: str) -> str:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


def _wrong_reference(written: str) -> str:
    """The key of what is wrong with a reference as it was typed; empty when it can be one."""
    if not written:
        return "error.reference_missing"
    try:
        reference.parse(written)
    except ValueError:
        digits = plain(written)
        return "error.reference_digit" if len(digits) == 14 and digits.isdecimal() else "error.reference_length"
    return ""


def _wrong_code(written: str) -> str:
    """The same for an access code."""
    if not written:
        return "error.code_missing"
    code = access.normalised(written)
    return "" if len(code) == access.LENGTH and set(code) <= set(access.ALPHABET) else "error.code_form"
