"""HTTP of every process: errors as RFC 9457 problems, health, metrics, traces, safe headers."""

import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from chikaya_contracts.messages.channel import FieldError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .faults import TRANSIENT
from .telemetry import REQUESTS, child_of, tracer
from .validation import field_errors

log = structlog.get_logger()

RETRY_AFTER_S = 5
LARGEST_BODY = 256 * 1024
"""Enough for any text that is taken here, in bytes."""


class Problem(Exception):
    """An error that its reader can act on (RFC 9457).

    Args:
        errors: what is wrong with which field, in French and Arabic.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        type: str = "about:blank",
        errors: Sequence[FieldError] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(title)
        self.status, self.title, self.detail, self.type = status, title, detail, type
        self.errors, self.headers = errors, headers

    def response(self) -> Response:
        """As `application/problem+json`."""
        body: dict[str, Any] = {"type": self.type, "title": self.title, "status": self.status}
        if self.detail:
            body["detail"] = self.detail
        if self.errors is not None:
            body["errors"] = [error.model_dump() for error in self.errors]
        return JSONResponse(body, self.status, self.headers, media_type="application/problem+json")


def unavailable() -> Problem:
    """503: something behind this process is away; try again."""
    return Problem(
        503,
        "Service momentanément indisponible · الخدمة غير متاحة حاليا",
        "Rien n'est confirmé : réessayez dans quelques instants. لم يتم تأكيد أي شيء، المرجو إعادة المحاولة بعد لحظات.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def install(
    app: FastAPI,
    service: str,
    transient: tuple[type[Exception], ...],
    largest_body: int = LARGEST_BODY,
    apart_from: Sequence[str] = (),
) -> None:
    """Makes every error of `app` a problem, adds `/metrics`, and refuses bodies of more than `largest_body` bytes,
    but for the paths in `apart_from`, which count for themselves."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, problem: Problem) -> Response:
        return problem.response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        found = field_errors(error.errors())
        return Problem(422, "Données invalides · معطيات غير صالحة", errors=found).response()

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        detail = error.detail if error.detail != title else ""
        return Problem(error.status_code, title, str(detail), headers=dict(error.headers or {})).response()

    async def _away(_: Request, error: Exception) -> Response:
        log.warning("dependency away", error=type(error).__name__)
        return unavailable().response()

    for kind in (*TRANSIENT, *transient):
        app.add_exception_handler(kind, _away)

    @app.exception_handler(Exception)
    async def _unexpected(_: Request, error: Exception) -> Response:
        return Problem(500, "Erreur interne · خطأ داخلي").response()

    @app.get("/metrics", include_in_schema=False)
    async def _metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app.add_middleware(_SmallBodies, largest=largest_body, apart_from=apart_from)
    app.add_middleware(_Observed, service=service)


class _SmallBodies:
    """Refuses a request of more than `largest` bytes while it still arrives, before anyone reads who sends it."""

    def __init__(self, app: ASGIApp, largest: int, apart_from: Sequence[str] = ()) -> None:
        self._app, self._largest, self._apart_from = app, largest, apart_from

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._apart_from:
            return await self._app(scope, receive, send)
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._largest:
                raise HTTPException(413, "Demande trop volumineuse · الطلب كبير جدا")
            return message

        return await self._app(scope, counted, send)


# Pages need no script but htmx and those of /docs, all served from here.
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; "
        b"base-uri 'none'; object-src 'none'",
    ),
]
_QUIET = ("/livez", "/readyz", "/metrics")


class _Observed:
    """Times, traces and logs each request, by its route and never by its path: paths hold references."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status = time.perf_counter(), 500
        docs = scope["path"] in ("/docs", "/redoc")
        parent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name.lower() for name, _ in message["headers"]}
                added = [pair for pair in _HEADERS if pair[0] not in present]
                if docs:  # Swagger's page starts itself with an inline script
                    added = [pair for pair in added if pair[0] != b"content-security-policy"]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        with tracer.start_as_current_span(f"{scope['method']}", context=child_of(parent)) as span:
            try:
                await self._app(scope, receive, sending)
            finally:
                route = getattr(scope.get("route"), "path", "unmatched")
                span.update_name(f"{scope['method']} {route}")
                seconds = time.perf_counter() - started
                REQUESTS.labels(self._service, scope["method"], route, str(status)).observe(seconds)
                if route not in _QUIET:
                    log.info("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))
        return None
