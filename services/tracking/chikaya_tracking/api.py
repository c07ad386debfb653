"""HTTP → domain: reading a case, and asking something of it. What is asked goes through Kafka like all the rest."""

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import structlog
from chikaya_contracts import access, reference, topics
from chikaya_contracts.envelope import Event
from chikaya_contracts.ids import consequence_id, new_id
from chikaya_contracts.messages.channel import FieldError
from chikaya_contracts.submission import Phone
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.http import Problem
from chikaya_servicekit.publishing import Publisher
from chikaya_servicekit.staff import Person, bearer
from chikaya_servicekit.telemetry import traceparent
from chikaya_servicekit.validation import field_error, field_errors
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import BaseModel, TypeAdapter, ValidationError

from .adapters.cases import Cases
from .catalogue import Catalogue
from .consumers import SOURCE
from .domain.asking import KINDS, REFUSALS, Kind, check
from .domain.case import Case, NotAllowed, Rules, text_id
from .domain.case_file import CaseFile
from .shown import (
    CaseShown,
    ListedShown,
    ParkedShown,
    Reader,
    RequestShown,
    show,
    show_listed,
    show_parked,
    show_request,
)
from .tries import FailedTries

log = structlog.get_logger()

PAGE = 20
MOST_TEXTS = 200
"""Texts that a case may hold before the API takes no more of them: a store of words, not a chat."""

Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
AccessCode = Annotated[str | None, Header(max_length=40, description="The access code of the receipt.")]
Allow = Callable[[Request, HTTPAuthorizationCredentials | None], Awaitable[Person]]
_phone: TypeAdapter[str] = TypeAdapter(Phone)


class Asked(BaseModel):
    """What is asked of a case. `text` is required but to rate or withdraw, `score` (1-5) to rate."""

    kind: Kind
    text: str | None = None
    score: int | None = None


class ListShown(BaseModel):
    """A page of a list; `next` is to be given as `after` for the next page, and absent on the last."""

    complaints: list[ListedShown]
    next: str | None = None


class ParkedListShown(BaseModel):
    """A page of what is parked; `next` as in `ListShown`."""

    parked: list[ParkedShown]
    next: str | None = None


@dataclass(frozen=True)
class Api:
    """The routes and what they need. `readers`, `agents` and `overseers` let staff in (see `chikaya_servicekit.staff`);
    what is parked for longer than `too_long` is shown as late."""

    cases: Cases
    catalogue: Catalogue
    tries: FailedTries
    publisher: Publisher
    clock: Clock
    rules: Rules
    verifier_key: bytes
    readers: Allow
    agents: Allow
    overseers: Allow
    too_long: timedelta

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter(prefix="/v1", tags=["complaints"])
        router.add_api_route(
            "/complaints", self.find, methods=["GET"], response_model=ListShown, summary="Find by telephone"
        )
        router.add_api_route(
            "/parked", self.parked, methods=["GET"], response_model=ParkedListShown, summary="What waits"
        )
        router.add_api_route(
            "/complaints/{reference}", self.read, methods=["GET"], response_model=CaseShown, summary="Read a case"
        )
        router.add_api_route(
            "/complaints/{reference}/requests",
            self.ask,
            methods=["POST"],
            status_code=202,
            response_model=RequestShown,
            summary="Ask something of a case",
        )
        router.add_api_route(
            "/complaints/{reference}/requests/{request_id}",
            self.outcome,
            methods=["GET"],
            response_model=RequestShown,
            summary="What became of a request",
        )
        return router

    async def read(
        self, request: Request, reference: str, credentials: Credentials, access_code: AccessCode = None
    ) -> CaseShown:
        """With the access code, or as an agent or a coordinator."""
        file, case, reader = await self._open(request, reference, credentials, access_code, self.readers)
        notices = None if reader == "citizen" else await self.cases.notices(file.complaint_id)
        return show(file, case, reader, self.catalogue, self.clock(), self.rules, notices)

    async def find(
        self,
        request: Request,
        credentials: Credentials,
        telephone: Annotated[str, Query(max_length=30, description="National or international form.")],
        after: Annotated[str | None, Query(max_length=200, description="`next` of the page before.")] = None,
    ) -> ListShown:
        """Cases of a caller's telephone number, newest first; for agents."""
        person = await self.agents(request, credentials)
        try:
            phone = _phone.validate_python(telephone)
        except ValidationError:
            raise _invalid([field_error("phone", "telephone")]) from None
        rows = await self.cases.by_phone(phone, _key(after), PAGE + 1)
        log.info("cases looked up by telephone", by=person.sub, found=len(rows[:PAGE]))
        last = rows[PAGE - 1] if len(rows) > PAGE else None
        return ListShown(
            complaints=[show_listed(row, self.catalogue) for row in rows[:PAGE]],
            next=_encoded(f"{last.received_at.isoformat()} {last.complaint_id}") if last else None,
        )

    async def parked(
        self,
        request: Request,
        credentials: Credentials,
        after: Annotated[str, Query(max_length=200, description="`next` of the page before.")] = "",
    ) -> ParkedListShown:
        """What waits for its predecessor, oldest first; for coordinators and operators."""
        await self.overseers(request, credentials)
        rows = await self.cases.parked(_decoded(after), PAGE + 1)
        late = self.clock() - self.too_long
        return ParkedListShown(
            parked=[show_parked(row.file, row.cause, late) for row in rows[:PAGE] if row.cause],
            next=_encoded(rows[PAGE - 1].key) if len(rows) > PAGE else None,
        )

    async def ask(
        self,
        request: Request,
        response: Response,
        reference: str,
        asked: Asked,
        credentials: Credentials,
        access_code: AccessCode = None,
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
    ) -> RequestShown:
        """Checked against the present state, then sent on its way: 202 says that it is recorded and will be decided.

        A repeat with the same `Idempotency-Key` is the same request. 409 says why it is not allowed now.
        """
        file, case, reader = await self._open(request, reference, credentials, access_code, self.agents)
        fields: dict[str, Any] = {"complaint_id": file.complaint_id, "at": self.clock()}
        fields["by"] = "citizen" if reader == "citizen" else "agent"
        fields |= asked.model_dump(exclude={"kind"}, exclude_none=True)
        model = KINDS[asked.kind]
        try:
            data = model.model_validate(fields)
        except ValidationError as error:
            raise _invalid(field_errors(error.errors())) from None
        request_id = new_id()
        if idempotency_key:
            request_id = consequence_id(f"{file.complaint_id}:{idempotency_key}", model.TYPE, reader)
        event = Event(request_id, SOURCE, data.at, data, topics.REQUESTS.name, {}, traceparent())
        response.headers["Location"] = f"/v1/complaints/{case.reference}/requests/{request_id}"
        if file.find(topics.REQUESTS.name, request_id):
            kept = file.text(text_id(event))
            if kept is not None and kept != asked.text:
                raise _conflict(
                    "idempotency-key", "Cette clé a servi à une autre demande.", "استعمل هذا المفتاح لطلب آخر."
                )
            return show_request(file, topics.REQUESTS.name, request_id)
        try:
            check(case, data, self.rules)
        except NotAllowed as no:
            raise _conflict(no.reason, *REFUSALS[no.reason]) from None
        if asked.text and len(file.texts) >= MOST_TEXTS:
            raise Problem(429, "Trop d'ajouts · إضافات كثيرة جدا", headers={"Retry-After": "86400"})
        await self.publisher.publish([event])
        return RequestShown(request_id=request_id, status="pending")

    async def outcome(
        self,
        request: Request,
        reference: str,
        request_id: str,
        credentials: Credentials,
        access_code: AccessCode = None,
    ) -> RequestShown:
        """`pending` until the request has been decided, for an id that nobody was given too."""
        file, _, _ = await self._open(request, reference, credentials, access_code, self.agents)
        return show_request(file, topics.REQUESTS.name, request_id)

    async def _open(
        self,
        request: Request,
        written: str,
        credentials: HTTPAuthorizationCredentials | None,
        access_code: str | None,
        staff: Allow,
    ) -> tuple[CaseFile, Case, Reader]:
        """The case, if who asks may read it. With an access code, one is a citizen, whoever else one may be."""
        person = await staff(request, credentials) if access_code is None else None
        try:
            digits = reference.parse(written)
        except ValueError:
            raise _invalid([_WRONG_REFERENCE]) from None
        if person is not None:
            file = await self.cases.by_reference(digits)
            if file is None or file.case is None:
                raise _unknown()
            log.info("case read by staff", by=person.sub, complaint_id=file.complaint_id)
            return file, file.case, "agent" if "agent" in person.roles else "coordinator"
        await self.tries.check(digits)
        file = await self.cases.by_reference(digits)
        # An unknown reference takes the same work, and gives the same answer, as a wrong code.
        complaint_id = file.complaint_id if file else ""
        expected = file.filing.verifier if file and file.filing else ""
        given = access.verifier(self.verifier_key, complaint_id, access_code or "")
        if not hmac.compare_digest(given, expected) or file is None or file.case is None:
            await self.tries.failed(digits)
            raise _unknown()
        return file, file.case, "citizen"


_WRONG_REFERENCE = FieldError(
    field="reference",
    code="reference",
    message_fr="Ce numéro n'est pas une référence : vérifiez ses 14 chiffres.",
    message_ar="هذا الرقم ليس مرجعا صحيحا: المرجو التحقق من أرقامه الأربعة عشر.",
)


def _unknown() -> Problem:
    return Problem(
        404,
        "Dossier introuvable · ملف غير موجود",
        "Code d'accès erroné, ou réclamation déposée il y a quelques minutes. "
        "رمز الولوج خاطئ، أو تم إيداع الشكاية قبل دقائق.",
    )


def _invalid(errors: list[FieldError]) -> Problem:
    return Problem(422, "Données invalides · معطيات غير صالحة", errors=errors)


def _conflict(code: str, fr: str, ar: str) -> Problem:
    return Problem(
        409,
        "Demande impossible · طلب غير ممكن",
        f"{fr} {ar}",
        errors=[FieldError(field="kind", code=code, message_fr=fr, message_ar=ar)],
    )


def _encoded(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decoded(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor).decode()
    except (ValueError, binascii.Error):
        raise _no_cursor() from None


def _key(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    try:
        at, complaint_id = _decoded(cursor).split(" ")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return moment.astimezone(UTC), complaint_id
    except (ValueError, OverflowError):
        raise _no_cursor() from None


def _no_cursor() -> Problem:
    return _invalid([field_error("value_error", "after")])
