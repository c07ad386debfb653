"""HTTP → domain for people: the list, a dossier, the forms by which an officer decides. No script is needed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from chikaya_contracts import ids, reference
from chikaya_contracts.legal_time import CASABLANCA
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.faults import TRANSIENT
from chikaya_servicekit.http import RETRY_AFTER_S
from chikaya_servicekit.pages import Pages
from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from .adapters.dossiers import Dossiers
from .api import Show, dossier_of, page_of
from .catalogue import Catalogue
from .deciding import LONGEST_TEXT, NEEDS_TEXT, Deciding, Wanted
from .domain.dossier import MESSAGES, Action, NotAllowed
from .officers import Officer, unknown
from .shown import DossierShown

Step = Literal["preview", "edit", "send"]
Written = Literal["ask", "answer", "transfer"]
"""What is decided on a page of its own."""
KINDS = ("ministry", "department", "establishment", "commune")


@dataclass(frozen=True)
class DeskPages:
    """The routes and what they need. `officer` lets in; `away` are errors of a database that is away."""

    pages: Pages
    dossiers: Dossiers
    catalogue: Catalogue
    deciding: Deciding
    clock: Clock
    officer: Callable[..., Awaitable[Officer]]
    away: tuple[type[Exception], ...] = ()

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter(include_in_schema=False)
        Signed = Annotated[Officer, Depends(self.officer)]  # noqa: N806 (a type)

        @router.get("/")
        async def _queue(
            request: Request,
            officer: Signed,
            show: Show = "todo",
            after: Annotated[str | None, Query(max_length=120)] = None,
            reference: Annotated[str | None, Query(max_length=60)] = None,
        ) -> Response:
            return await self._queue(request, officer, show, after, reference)

        @router.get("/dossiers/{complaint_id}")
        async def _dossier(request: Request, complaint_id: str, officer: Signed) -> Response:
            shown = await dossier_of(self.dossiers, officer, complaint_id, self.clock())
            return self._dossier_page(request, officer, shown)

        @router.get("/dossiers/{complaint_id}/{action}")
        async def _form(request: Request, complaint_id: str, action: Written, officer: Signed) -> Response:
            shown = await dossier_of(self.dossiers, officer, complaint_id, self.clock())
            if action not in shown.allowed:
                return self._dossier_page(request, officer, shown, "state", 409)
            return self._form_page(request, officer, shown, _begun(shown, action))

        @router.post("/dossiers/{complaint_id}/{action}")
        async def _decide(
            request: Request,
            complaint_id: str,
            action: Action,
            officer: Signed,
            form: Annotated[str, Form(min_length=1, max_length=80)],
            text: Annotated[str, Form()] = "",
            proposed: Annotated[str, Form(max_length=60)] = "",
            step: Annotated[Step, Form()] = "send",
        ) -> Response:
            wanted = self.deciding.tidied(form, action, text, proposed)
            return await self._decide(request, officer, complaint_id, wanted, step)

        return router

    async def _queue(
        self, request: Request, officer: Officer, wanted: Show, after: str | None, written: str | None
    ) -> Response:
        errors: dict[str, str] = {}
        if written is not None and written.strip():
            found, problem = await self._found(officer.administration, written)
            if found:
                return RedirectResponse(f"/dossiers/{found}", 303)
            errors["reference"] = self.pages.text(self.pages.language(request), problem)
        now = self.clock()
        page = await page_of(self.dossiers, officer.administration, wanted, after, now)
        context = {"page": page, "show": wanted, "after": after, "reference": written or "", "errors": errors}
        return self._render(request, officer, "queue.html", context, 404 if errors else 200)

    async def _found(self, administration: str, written: str) -> tuple[str | None, str]:
        """(complaint id, "") or (None, the key of the text that says what is wrong)."""
        try:
            wanted = reference.parse(written)
        except ValueError:
            return None, "search.mistyped"
        file = await self.dossiers.by_reference(administration, wanted)
        return (file.complaint_id, "") if file else (None, "search.none")

    async def _decide(
        self, request: Request, officer: Officer, complaint_id: str, wanted: Wanted, step: Step
    ) -> Response:
        """What was typed is shown again whatever goes wrong: the form needs no database."""
        shown: DossierShown | None = None
        try:
            shown = await dossier_of(self.dossiers, officer, complaint_id, self.clock())
            found = self.deciding.errors(wanted, officer.administration)
            lang = self.pages.language(request)
            errors = {error.field: error.message_ar if lang == "ar" else error.message_fr for error in found}
            if errors or step == "edit":
                return self._form_page(request, officer, shown, wanted, errors, status=422 if errors else 200)
            if step == "preview" and wanted.action == "answer":
                return self._confirm_page(request, officer, shown, wanted)
            await self.deciding.decide(officer.person, officer.administration, complaint_id, wanted)
        except NotAllowed as no:
            if shown is None:
                raise unknown() from None
            if wanted.action in NEEDS_TEXT:
                return self._form_page(request, officer, shown, wanted, notice=no.reason, status=409)
            return self._dossier_page(request, officer, shown, no.reason, 409)
        except (*TRANSIENT, *self.away):
            if wanted.action not in NEEDS_TEXT:
                raise
            return self._form_page(
                request, officer, shown, wanted, notice="away", status=503, complaint_id=complaint_id
            )
        return RedirectResponse(f"/dossiers/{complaint_id}", 303)

    def _dossier_page(
        self, request: Request, officer: Officer, shown: DossierShown, notice: str | None = None, status: int = 200
    ) -> Response:
        last = shown.last()
        context = {
            "dossier": shown,
            "notice": notice,
            "refused": last if last and last.status == "refused" else None,
            "unsent": last if last and last.status == "unsent" else None,
            "registering": last if last and last.status == "registering" else None,
            "form": ids.new_id(),
            "requests": {model.TYPE: action for action, model in MESSAGES.items()},
        }
        return self._render(request, officer, "dossier.html", context, status)

    def _form_page(
        self,
        request: Request,
        officer: Officer,
        shown: DossierShown | None,
        wanted: Wanted,
        errors: Mapping[str, str] | None = None,
        notice: str | None = None,
        status: int = 200,
        complaint_id: str = "",
    ) -> Response:
        rows = self.catalogue.others(officer.administration) if wanted.action == "transfer" else []
        name = f"name_{self.pages.language(request)}"
        context = {
            "dossier": shown,
            "complaint_id": shown.complaint_id if shown else complaint_id,
            "wanted": wanted,
            "errors": errors or {},
            "notice": notice,
            "longest": LONGEST_TEXT,
            "choices": [
                (kind, sorted((row for row in rows if row.kind == kind), key=lambda row: str(getattr(row, name))))
                for kind in KINDS
            ],
        }
        headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
        return self._render(request, officer, "decide.html", context, status, headers)

    def _confirm_page(self, request: Request, officer: Officer, shown: DossierShown, wanted: Wanted) -> Response:
        def to_citizen(key: str, **words: Any) -> str:
            return self.pages.text(shown.notice_language, key, **words)

        row = self.catalogue.find(officer.administration)
        context = {
            "dossier": shown,
            "wanted": wanted,
            "to_citizen": to_citizen,
            "sender": getattr(row, f"name_{shown.notice_language}") if row else officer.administration,
        }
        return self._render(request, officer, "confirm.html", context)

    def _render(
        self,
        request: Request,
        officer: Officer,
        template: str,
        context: Mapping[str, Any],
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        common = {
            "person": officer.person,
            "administration": self.catalogue.find(officer.administration),
            "slug": officer.administration,
            "catalogue": self.catalogue,
            "days_left": lambda due: days_left(due, self.clock()),
            "known": self.pages.texts,
        }
        return self.pages.render(request, template, {**common, **context}, status, headers)


def days_left(due: datetime, now: datetime) -> int:
    """Civil days in Morocco from now to a deadline; negative once it has passed."""
    return (due.astimezone(CASABLANCA).date() - now.astimezone(CASABLANCA).date()).days


def _begun(shown: DossierShown, action: Action) -> Wanted:
    """The form as it is opened: with the words of one that was refused or did not leave."""
    last = shown.last(action)
    if last and last.form and last.status == "unsent":
        return Wanted(last.form, action, last.text, last.proposed)
    if last and last.status == "refused":
        return Wanted(ids.new_id(), action, last.text, last.proposed)
    return Wanted(ids.new_id(), action)
