"""HTTP → domain for programs: the list, a dossier, a decision. Bearer tokens of the OpenID provider."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from chikaya_contracts import ids
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.http import Problem
from chikaya_servicekit.validation import field_error
from fastapi import APIRouter, Depends, Header, Query
from pydantic import BaseModel, Field

from .adapters.dossiers import Dossiers
from .deciding import Deciding
from .domain.dossier import Action, Group, NotAllowed, State, decision_id
from .officers import Officer, unknown
from .shown import DossierShown, PageShown, Status, show, show_listed

PAGE = 20
POSITION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\|[0-9A-Za-z-]{1,80}")
Show = Literal["todo", "waiting", "done", "all"]
REFUSALS: dict[str, tuple[str, str]] = {
    "state": (
        "L'état du dossier ne permet pas cette action.",
        "حالة الملف لا تسمح بهذا الإجراء.",
    ),
    "busy": (
        "Une autre décision est en cours d'envoi sur ce dossier : réessayez dans une minute.",
        "هناك قرار آخر قيد الإرسال بشأن هذا الملف، المرجو إعادة المحاولة بعد دقيقة.",
    ),
    "used": (
        "Cette décision a déjà été envoyée, avec un autre contenu.",
        "سبق إرسال هذا القرار بمحتوى آخر.",
    ),
}


class DecisionAsked(BaseModel):
    """A decision. `text` is required to ask, answer and transfer; `proposed` is a slug of the catalogue."""

    action: Action
    text: str | None = None
    proposed: str | None = Field(None, max_length=60)


class DecisionShown(BaseModel):
    """A decision that Kafka has. Tracking decides on it; a refusal shows in the dossier's history."""

    decision_id: str
    status: Status
    state: State


async def page_of(dossiers: Dossiers, administration: str, wanted: Show, after: str | None, now: datetime) -> PageShown:
    """A page of an administration's list, the late ones marked.

    Raises:
        Problem: 422, `after` was never given as `next`.
    """
    if after and not POSITION.fullmatch(after):
        error = field_error("string_pattern_mismatch", "after")
        raise Problem(422, "Données invalides · معطيات غير صالحة", errors=[error])
    group: Group | None = None if wanted == "all" else wanted
    rows = await dossiers.page(administration, group, after or None, PAGE + 1)
    return PageShown(
        dossiers=[show_listed(row, now) for row in rows[:PAGE]],
        next=rows[PAGE - 1].position if len(rows) > PAGE else None,
    )


async def dossier_of(dossiers: Dossiers, officer: Officer, complaint_id: str, now: datetime) -> DossierShown:
    """A dossier of the officer's administration.

    Raises:
        Problem: 404, it has none of that complaint.
    """
    file = await dossiers.find((officer.administration, complaint_id))
    shown = show(file, now) if file else None
    if shown is None:
        raise unknown()
    return shown


@dataclass(frozen=True)
class Api:
    """The routes and what they need. `officer` lets in (see `officers`)."""

    dossiers: Dossiers
    deciding: Deciding
    clock: Clock
    officer: Callable[..., Awaitable[Officer]]

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter(prefix="/v1/dossiers", tags=["dossiers"])

        @router.get("", response_model=PageShown, summary="The list by deadline")
        async def _list(
            officer: Annotated[Officer, Depends(self.officer)],
            state: Annotated[Show, Query(description="Which list.")] = "todo",
            after: Annotated[str | None, Query(max_length=120, description="`next` of the page before.")] = None,
        ) -> PageShown:
            """`todo` and `waiting` begin with the soonest deadline, `done` and `all` with the last; 20 a page."""
            return await page_of(self.dossiers, officer.administration, state, after, self.clock())

        @router.get("/{complaint_id}", response_model=DossierShown, summary="A dossier")
        async def _read(complaint_id: str, officer: Annotated[Officer, Depends(self.officer)]) -> DossierShown:
            """A dossier of one's own administration; any other is 404."""
            return await dossier_of(self.dossiers, officer, complaint_id, self.clock())

        @router.post(
            "/{complaint_id}/decisions", response_model=DecisionShown, status_code=202, summary="Decide about a dossier"
        )
        async def _decide(
            complaint_id: str,
            asked: DecisionAsked,
            officer: Annotated[Officer, Depends(self.officer)],
            idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
        ) -> DecisionShown:
            """202 once Kafka has it; tracking decides on it. With an `Idempotency-Key`, a repeat is the same decision.

            409 says why it is not allowed; 503 that nothing is certain: send the same again, with the same key.
            """
            return await self._decided(complaint_id, asked, officer, idempotency_key)

        return router

    async def _decided(
        self, complaint_id: str, asked: DecisionAsked, officer: Officer, key: str | None
    ) -> DecisionShown:
        await dossier_of(self.dossiers, officer, complaint_id, self.clock())
        # Another's key must not meet this one's: the form is the person's, for this dossier.
        form = ids.consequence_id(officer.person.sub, complaint_id, key) if key else ids.new_id()
        wanted = self.deciding.tidied(form, asked.action, asked.text, asked.proposed)
        if errors := self.deciding.errors(wanted, officer.administration):
            raise Problem(422, "Données invalides · معطيات غير صالحة", errors=errors)
        try:
            file = await self.deciding.decide(officer.person, officer.administration, complaint_id, wanted)
        except NotAllowed as no:
            raise Problem(409, "Action impossible · إجراء غير ممكن", " ".join(REFUSALS[no.reason])) from None
        shown = show(file, self.clock())
        made = decision_id(wanted.form, wanted.action, wanted.text, wanted.proposed)
        line = next((line for line in shown.history if line.id == made), None) if shown else None
        if shown is None or line is None or line.status is None:
            raise unknown()
        return DecisionShown(decision_id=made, status=line.status, state=shown.state)
