"""Finding a case by reference or telephone, reading it aloud, asking something of it for the caller."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from chikaya_contracts import reference, states
from chikaya_contracts.ids import new_id
from chikaya_contracts.writing import plain
from chikaya_sdk import Case, Conflict, NotFound, Refused, TooManyTries, Tracking, Unavailable
from chikaya_servicekit.pages import Pages
from chikaya_servicekit.pages.filing import by_field
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from .agents import person_of
from .aloud import NATURES, Aloud

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


@dataclass(frozen=True, slots=True)
class Cases:
    """The routes and what they need. Tracking knows the agent by their own token."""

    pages: Pages
    tracking: Tracking

    def router(self, agents: Callable[..., Awaitable[None]]) -> APIRouter:
        """All routes of cases, for agents."""
        router = APIRouter(include_in_schema=False, dependencies=[Depends(agents)])
        router.add_api_route("/", self.search, methods=["GET"], response_model=None)
        router.add_api_route("/cases", self.of_telephone, methods=["GET"], response_model=None)
        router.add_api_route("/cases/{name}", self.case, methods=["GET"], response_model=None)
        router.add_api_route("/cases/{name}/withdraw", self.confirm, methods=["GET"], response_model=None)
        router.add_api_route("/cases/{name}/{kind}", self.request, methods=["POST"], response_model=None)
        return router

    async def search(self, request: Request, q: Annotated[str, Query(max_length=80)] = "") -> Response:
        """One field for both: a reference, or a telephone number."""
        typed = plain(q)
        if not typed:
            return self._search(request, q, "error.q_missing" if "q" in request.query_params else "")
        if not typed.lstrip("+").isdecimal():
            return self._search(request, q, "error.q")
        # 00212612345678 has 14 digits too; a reference begins with its year.
        if len(typed) != 14 or typed.startswith("0"):
            return RedirectResponse(f"/cases?{urlencode({'telephone': typed})}", 303)
        try:
            return RedirectResponse(f"/cases/{reference.parse(typed)}", 303)
        except ValueError:
            return self._search(request, q, "error.q_digit")

    async def of_telephone(
        self,
        request: Request,
        telephone: Annotated[str, Query(max_length=30)] = "",
        after: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        """The cases of a caller's number, newest first, a page at a time."""
        person = person_of(request)
        try:
            page = await self.tracking.find(telephone, token=person.access_token, after=after or None)
        except Refused:
            return self._search(request, telephone, "error.q")
        more = f"/cases?{urlencode({'telephone': telephone, 'after': page.next})}" if page.next else ""
        context = {
            "person": person,
            "telephone": telephone,
            "cases": page.complaints,
            "more": more,
            "file_url": f"/file?{urlencode({'phone': telephone})}",
            "natures": NATURES,
        }
        return self.pages.render(request, "cases.html", context)

    async def case(self, request: Request, name: str, asked: str = "", id: str = "") -> Response:
        """A case to read aloud; `asked` and `id` are a request that was just made, and what became of it."""
        token = person_of(request).access_token
        outcome = None
        try:
            case = await self.tracking.case(name, token=token)
            if asked in TEXT_FIELDS and id:
                outcome = await self.tracking.outcome(name, None, id[:60], token=token)
        except (NotFound, Refused) as error:
            return self._search(request, name, "error.q_unknown" if isinstance(error, NotFound) else "error.q_digit")
        return self._shown(request, case, {"outcome": outcome, "asked": asked})

    async def confirm(self, request: Request, name: str) -> Response:
        """Asks the caller once more before a complaint is withdrawn."""
        try:
            case = await self.tracking.case(name, token=person_of(request).access_token)
        except (NotFound, Refused):
            return self._search(request, name, "error.q_unknown")
        if "withdraw" not in case.allowed:
            return RedirectResponse(f"/cases/{case.reference}", 303)
        return self.pages.render(
            request, "withdraw.html", {"person": person_of(request), "case": case, "key": new_id()}
        )

    async def request(self, request: Request, name: str, kind: Kind) -> Response:
        """Asks something of the case for the caller, and waits a moment for what becomes of it."""
        token = person_of(request).access_token
        form = await request.form(max_files=0, max_fields=10)
        field = TEXT_FIELDS[kind]
        text, score = _typed(form, field).replace("\r\n", "\n"), _typed(form, "score")
        typed = {field: text, "score": score}
        language = self.pages.language(request)
        errors = {}
        if kind in TEXT_NEEDED and not text:
            errors[field] = self.pages.text(language, "error.words")
        if kind == "rate" and score not in ("1", "2", "3", "4", "5"):
            errors["score"] = self.pages.text(language, "error.score")
        if errors:
            return await self._with(request, name, {"typed": typed, "errors": errors}, 422)
        try:
            asked = await self.tracking.request(
                name,
                None,
                kind,
                text or None,
                int(score) if kind == "rate" else None,
                token=token,
                idempotency_key=_typed(form, "key")[:60] or None,
            )
            await self.tracking.settled(name, None, asked.request_id, token=token)
        except Refused as refused:
            found = by_field(refused.errors).items()
            errors = {
                field if where == "text" else where: str(getattr(error, f"message_{language}"))
                for where, error in found
            }
            return await self._with(request, name, {"typed": typed, "errors": errors}, 422)
        except Conflict as conflict:
            said = str(getattr(conflict.errors[0], f"message_{language}")) if conflict.errors else ""
            notice = said or self.pages.text(language, "case.not_possible")
            return await self._with(request, name, {"typed": typed, "notice": notice}, 409)
        except NotFound:
            return self._search(request, name, "error.q_unknown")
        except TooManyTries as error:
            notice = self.pages.text(language, "limit.wait", minutes=math.ceil(error.retry_after / 60))
            return await self._with(request, name, {"typed": typed, "notice": notice}, 429)
        except Unavailable as away:
            kept = {"kind": kind, "field": field, "text": text, "score": score, "key": _typed(form, "key")}
            headers = {"Retry-After": str(math.ceil(away.retry_after))}
            context = kept | {"person": person_of(request), "name": name}
            return self.pages.render(request, "again.html", context, 503, headers)
        return RedirectResponse(f"/cases/{plain(name)}?asked={kind}&id={asked.request_id}", 303)

    async def _with(self, request: Request, name: str, more: Mapping[str, Any], status: int) -> Response:
        """The case again, with what was typed and what is wrong."""
        try:
            case = await self.tracking.case(name, token=person_of(request).access_token)
        except (NotFound, Refused):
            return self._search(request, name, "error.q_unknown")
        return self._shown(request, case, more, status)

    def _shown(self, request: Request, case: Case, more: Mapping[str, Any], status: int = 200) -> Response:
        known = states.states()
        texts = self.pages.texts
        context = {
            "person": person_of(request),
            "case": case,
            "scripts": Aloud(self.pages).case(case),
            "open": case.state in known and known[case.state].open,
            "history": list(reversed(case.history)),
            "states": known,
            "known_events": {key.removeprefix("event.") for key in texts if key.startswith("event.")},
            "known_reasons": {key.removeprefix("rejection.") for key in texts if key.startswith("rejection.")},
            "natures": NATURES,
            "key": new_id(),
            "typed": {},
            "errors": {},
            "notice": "",
            "outcome": None,
            "asked": "",
            **more,
        }
        if request.method == "POST":
            other = "ar" if self.pages.language(request) == "fr" else "fr"
            context["other_url"] = f"/cases/{case.reference}?lang={other}"
        return self.pages.render(request, "case.html", context, status)

    def _search(self, request: Request, q: str, error: str = "") -> Response:
        errors = {"q": self.pages.texts[error][self.pages.language(request)]} if error else {}
        context: dict[str, Any] = {"person": person_of(request), "q": q, "errors": errors}
        if request.url.path != "/":
            context["other_url"] = f"/?lang={'ar' if self.pages.language(request) == 'fr' else 'fr'}"
        status = 200 if not error else 404 if error == "error.q_unknown" else 422
        return self.pages.render(request, "search.html", context, status)


def _typed(form: Mapping[str, Any], name: str) -> str:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""
