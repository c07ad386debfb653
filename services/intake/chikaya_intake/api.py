"""Intake over HTTP: complaints, attachments, receipts. A channel is named by its key, never by what it sends."""

import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import quote

from chikaya_contracts.messages.channel import FieldError
from chikaya_contracts.messages.intake import Attachment
from chikaya_contracts.submission import Receipt, Submission
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.http import RETRY_AFTER_S, Problem
from chikaya_servicekit.staff import Staff, bearer
from chikaya_servicekit.telemetry import traceparent
from chikaya_servicekit.validation import field_error
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials
from prometheus_client import Counter
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from .adapters.multipart import NoFile, file_part
from .channels import Keyring
from .domain import acceptance
from .domain import attachments as rules
from .domain.acceptance import Complaint, Filing, Secrets, Sender
from .domain.rate import Limiter
from .files import Files
from .reception import KeyReused, Reception
from .stores import Attachments, Complaints

ACCEPTED = Counter("chikaya_intake_accepted_total", "Complaints answered with a receipt, over HTTP.", ["channel"])

FRAMING = 64 * 1024  # what a form adds to its file
STAFF_ROLES = ("officer", "supervisor", "agent", "triage")
KEY = re.compile(r"[\x21-\x7e]{1,200}")
TOO_LARGE = "20 Mo au plus · 20 ميغابايت على الأكثر"

api_key = APIKeyHeader(name="X-API-Key", auto_error=False, description="The channel's key (`chikaya channels add`).")
_UPLOAD_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


@dataclass(frozen=True, slots=True)
class Intake:
    """What the API needs; `link_s` is how many seconds a link opens its attachment; `away` are the exceptions that mean
    that the database is away."""

    reception: Reception
    complaints: Complaints
    attachments: Attachments
    files: Files
    keyring: Keyring
    limiter: Limiter
    staff: Staff
    secrets: Secrets
    clock: Clock
    link_s: int
    away: tuple[type[Exception], ...]


Calling = Callable[[str | None], Awaitable[str]]
"""The dependency that names the channel of a request."""


class Link(BaseModel):
    """Opens an attachment until `expires` (seconds since the epoch), for whoever has it."""

    url: str
    expires: int


def install(app: FastAPI, intake: Intake) -> None:
    """Adds the API to the process's application."""
    calling = _calling(intake)
    app.include_router(_filing(intake, calling))
    app.include_router(_receipts(intake, calling))
    app.include_router(_attachments(intake, calling))


def _calling(intake: Intake) -> Calling:
    async def channel(key: Annotated[str | None, Security(api_key)]) -> str:
        """The channel whose key is sent, when it does not send too fast."""
        name = await intake.keyring.channel_of(key) if key else None
        if name is None:
            raise Problem(
                401,
                "Clé de canal absente ou inconnue · مفتاح القناة غير موجود أو غير معروف",
                headers={"WWW-Authenticate": 'ApiKey header="X-API-Key"'},
            )
        if wait := intake.limiter.wait_s(name):
            raise Problem(
                429,
                "Trop de demandes : patientez · عدد كبير من الطلبات، المرجو الانتظار",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        return name

    return channel


def _filing(intake: Intake, calling: Calling) -> APIRouter:
    class Route(APIRoute):
        """The signature says what is taken and given, for `/docs`; the request is read here: FastAPI's own reading of
        it takes longer than all that is done with it."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            async def answer(request: Request) -> Response:
                channel = await calling(request.headers.get("x-api-key"))
                try:
                    submission = Submission.model_validate_json(await request.body())
                except ValidationError as error:
                    raise RequestValidationError(error.errors()) from None
                except ClientDisconnect:
                    raise Problem(400, "Demande interrompue · انقطع الطلب") from None
                receipt = await file_complaint(submission, channel, request.headers.get("idempotency-key"))
                return Response(receipt.model_dump_json(), 201, media_type="application/json")

            return answer

    router = APIRouter(prefix="/v1", tags=["complaints"], route_class=Route)

    @router.post("/complaints", status_code=201)
    async def file_complaint(
        submission: Submission,
        channel: Annotated[str, Depends(calling)],
        idempotency_key: Annotated[
            str | None,
            Header(description="Makes a retry harmless for 7 days. Without it, a retry can file a second complaint."),
        ] = None,
    ) -> Receipt:
        """Files a complaint. When this answers 201 it is kept, whether Kafka is there or not. After a 503 nothing is
        confirmed: send it again with the same key."""
        if idempotency_key is not None and not KEY.fullmatch(idempotency_key):
            raise _invalid(field_error("key_length", "Idempotency-Key", most=200))
        filing = Filing(channel, idempotency_key, submission, intake.clock(), traceparent())
        try:
            outcome = await intake.reception.accept(filing)
        except intake.away as error:
            raise _unconfirmed(idempotency_key is not None) from error
        if isinstance(outcome, KeyReused):
            raise Problem(
                409,
                "Cette clé a déjà servi à une autre réclamation · استُعمل هذا المفتاح لشكاية أخرى",
                errors=[field_error("key_reused", "Idempotency-Key")],
            )
        if not isinstance(outcome, Complaint):
            raise _invalid(field_error("attachment_unknown", "attachments"))
        ACCEPTED.labels(channel).inc()
        return acceptance.receipt(outcome, intake.secrets)

    return router


def _receipts(intake: Intake, calling: Calling) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["complaints"])

    @router.get("/receipts/{sender_id:path}")
    async def receipt(sender_id: str, channel: Annotated[str, Depends(calling)]) -> Receipt:
        """The receipt again, with the access code, of what this channel sent: over Kafka by its `sender_id`, over
        HTTP by its Idempotency-Key. For 7 days."""
        sender = Sender(channel, sender_id)
        complaint = (await intake.complaints.sent_by({sender})).get(sender)
        if complaint is None:
            raise Problem(
                404,
                "Aucun reçu sous cet identifiant · لا يوجد وصل بهذا المعرف",
                "Pas encore accepté, refusé, ou de plus de 7 jours. لم يُقبل بعد، أو رُفض، أو مضى عليه أكثر من 7 أيام.",
            )
        return acceptance.receipt(complaint, intake.secrets)

    return router


def _attachments(intake: Intake, calling: Calling) -> APIRouter:
    router = APIRouter(prefix="/v1/attachments", tags=["attachments"])
    staff = intake.staff.require(*STAFF_ROLES)

    @router.post("", status_code=201, openapi_extra=_UPLOAD_FORM)
    async def upload(request: Request, channel: Annotated[str, Depends(calling)]) -> Attachment:
        """Keeps a file, to be named in `attachments` of a complaint within 24 hours. At most 20 MB; its type is
        told by its content: JPEG, PNG, WebP, HEIC, PDF, DOCX, ODT, MP3, Ogg, M4A, MP4."""
        try:
            arriving = _at_most(request, rules.MAX_BYTES + FRAMING)
            name, content = await file_part(arriving, request.headers.get("content-type", ""), "file")
            return await intake.files.take(channel, name, content)
        except NoFile:
            raise _invalid(field_error("missing", "file")) from None
        except rules.TooLarge:
            raise Problem(413, "Fichier trop volumineux · الملف كبير جدا", TOO_LARGE) from None
        except rules.UnsupportedType:
            raise Problem(
                415,
                "Type de fichier non accepté · نوع الملف غير مقبول",
                "JPEG, PNG, WebP, HEIC, PDF, DOCX, ODT, MP3, Ogg, M4A, MP4",
            ) from None

    async def may_link(
        request: Request,
        key: Annotated[str | None, Security(api_key)],
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> str | None:
        """The channel that asks, or None for staff, who may open the attachments of every channel."""
        if key is not None or "authorization" not in request.headers:
            return await calling(key)
        await staff(request, credentials)
        return None

    @router.get("/{attachment_id}/link")
    async def link(attachment_id: str, asking: Annotated[str | None, Depends(may_link)]) -> Link:
        """A link that opens the attachment for a while: for the channel that it came by, or for staff (Bearer)."""
        found = await intake.attachments.find(attachment_id)
        if found is None or asking not in (None, found[1]):
            raise _no_attachment()
        expires = math.ceil((intake.clock() + timedelta(seconds=intake.link_s)).timestamp())
        return Link(url=intake.secrets.links.url(attachment_id, expires), expires=expires)

    @router.get("/{attachment_id}", response_class=StreamingResponse)
    async def download(
        attachment_id: str,
        expires: Annotated[int, Query(description="From the link.")],
        signature: Annotated[str, Query(description="From the link.")],
    ) -> StreamingResponse:
        """The file, by a link that is still good."""
        if not intake.secrets.links.opens(attachment_id, expires, signature, intake.clock()):
            raise Problem(
                403,
                "Lien expiré ou invalide · رابط منتهي الصلاحية أو غير صالح",
                "Demandez un nouveau lien. المرجو طلب رابط جديد.",
            )
        if (found := await intake.attachments.find(attachment_id)) is None:
            raise _no_attachment()
        file = found[0]
        headers = {
            "Content-Length": str(file.size),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cache-Control": "private, no-store",
        }
        return StreamingResponse(intake.attachments.read(attachment_id), media_type=file.media_type, headers=headers)

    return router


def _invalid(error: FieldError) -> Problem:
    return Problem(422, "Données invalides · معطيات غير صالحة", errors=[error])


def _unconfirmed(keyed: bool) -> Problem:
    """503 that is true whether the write has failed or only its acknowledgement was lost."""
    detail = (
        "Réessayez avec la même Idempotency-Key : rien ne sera enregistré deux fois. "
        "المرجو إعادة المحاولة بنفس Idempotency-Key: لن يسجل أي شيء مرتين."
        if keyed
        else "Réessayez dans quelques instants. المرجو إعادة المحاولة بعد لحظات."
    )
    return Problem(
        503,
        "Dépôt non confirmé, aucune référence donnée · لم يتأكد الإيداع ولم يُمنح أي رقم مرجع",
        detail,
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def _no_attachment() -> Problem:
    return Problem(404, "Pièce jointe introuvable · المرفق غير موجود")


async def _at_most(request: Request, limit: int) -> AsyncIterator[bytes]:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise rules.TooLarge
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise rules.TooLarge
        yield piece
