"""The inbox's HTTP side: the page for people, the SMS gateway for notification, the JSON API for tests."""

import asyncio
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from chikaya_local.inbox.mail import SmtpBehaviour, smtp_protocol
from chikaya_local.inbox.reading import content
from chikaya_local.inbox.store import COLUMNS, Copy, Kind, Store
from chikaya_local.inbox.words import words_for

PAGE = 50
OPEN_PATHS = frozenset({"/sms", "/livez", "/readyz"})
NAMES_OF_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})
E164 = re.compile(r"\+[1-9][0-9]{6,14}")
# Mail is somebody else's HTML: nothing it names is fetched, nothing it scripts runs.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
templates = Jinja2Templates(directory=Path(__file__).parent / "templates")


class InboxSettings(BaseSettings):
    """Settings of the inbox, from the environment."""

    model_config = SettingsConfigDict(env_prefix="CHIKAYA_", extra="ignore")

    host: str = Field("127.0.0.1", description="Address of the page, the gateway and SMTP.")
    port: int = Field(8025, description="Port of the page and of the SMS gateway.")
    smtp_port: int = Field(8026, description="Port of the SMTP server.")
    sms_token: SecretStr = Field(min_length=16, description="Bearer token that the SMS gateway asks for.")
    data_dir: Path = Field(Path(".local/inbox"), description="Folder of the SQLite file.")
    log_level: str = "INFO"


class Sms(BaseModel):
    """What the gateway is asked to send. `to` is E.164; a repeated `idempotency_key` sends nothing new."""

    to: str
    text: str = Field(min_length=1, max_length=2000)
    idempotency_key: str = Field(min_length=1, max_length=200)


class Behaviour(BaseModel):
    """How the servers answer from now on, for failure tests. Lost at a restart."""

    smtp: SmtpBehaviour = "ok"
    sms: Literal["ok", "refuse", "unavailable"] = "ok"


def create_app(settings: InboxSettings) -> FastAPI:
    """The whole process: HTTP routes, and an SMTP server that lives as long as the application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = app.state.store = Store(settings.data_dir / "inbox.sqlite3")
        app.state.behaviour = Behaviour()
        server = await asyncio.get_running_loop().create_server(
            smtp_protocol(store, lambda: app.state.behaviour.smtp), settings.host, settings.smtp_port
        )
        app.state.smtp = server
        try:
            yield
        finally:
            server.close()
            store.close()

    app = FastAPI(title="Chikaya local inbox", lifespan=lifespan, version="1")
    app.exception_handler(RequestValidationError)(invalid_request)
    add_health(app)
    add_gateway(app, settings.sms_token)
    add_api(app)
    add_pages(app)
    app.middleware("http")(refuse_other_sites)
    return app


def problem(status: int, title: str, detail: str = "", headers: dict[str, str] | None = None, **more: Any) -> Response:
    """RFC 9457."""
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(content, status, headers, media_type="application/problem+json")


async def invalid_request(request: Request, error: RequestValidationError) -> Response:
    errors = [
        {
            "field": ".".join(str(part) for part in e["loc"][1:]) or str(e["loc"][0]),
            "code": e["type"],
            "message_fr": "Ce champ manque ou n'est pas valable.",
            "message_ar": "هذه الخانة ناقصة أو غير صحيحة.",
        }
        for e in error.errors()
    ]
    return problem(422, "Invalid request", "See errors for each field.", errors=errors)


async def refuse_other_sites(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Another site may not read the inbox by pointing its own name at it, nor empty it through the reader's browser.

    The gateway and health are for other machines too, by whatever name: the one has a token, the other says nothing.
    """
    if request.url.path in OPEN_PATHS:
        return await call_next(request)
    if request.url.hostname not in NAMES_OF_THIS_MACHINE:
        return problem(400, "Not a name of this machine", "Open the inbox as 127.0.0.1 or localhost.")
    origin = request.headers.get("origin")
    if request.method not in {"GET", "HEAD"} and origin is not None and origin != str(request.base_url).rstrip("/"):
        return problem(403, "Request from another site")
    return await call_next(request)


def add_health(app: FastAPI) -> None:
    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}


def add_gateway(app: FastAPI, token: SecretStr) -> None:
    expected = f"Bearer {token.get_secret_value()}".encode()

    @app.post("/sms", status_code=201, summary="Send one SMS", response_model=None)
    async def send_sms(sms: Sms, request: Request, authorization: Annotated[str, Header()] = "") -> Response:
        """201 with the message's id; 200 with the same id when the idempotency key was seen before."""
        if not hmac.compare_digest(authorization.encode(), expected):
            return problem(401, "Wrong or missing token", headers={"WWW-Authenticate": "Bearer"})
        behaviour: Behaviour = request.app.state.behaviour
        if behaviour.sms == "unavailable":
            return problem(503, "Gateway unavailable", headers={"Retry-After": "1"})
        if behaviour.sms == "refuse":
            return problem(422, "Refused by the operator", "Told to refuse every message.")
        if not E164.fullmatch(sms.to):
            error = {
                "field": "to",
                "code": "not_e164",
                "message_fr": "Le numéro doit être au format international, par exemple +212612345678.",
                "message_ar": "يجب كتابة الرقم بالصيغة الدولية، مثلا +212612345678.",
            }
            return problem(422, "Not an E.164 number", "to must be like +212612345678", errors=[error])
        kept = request.app.state.store.add(
            "sms",
            recipient=sms.to,
            repeat_key=f"sms\n{sms.idempotency_key}",
            raw=sms.model_dump_json().encode(),
        )
        return JSONResponse({"id": kept.id, "repeat": kept.repeat}, 200 if kept.repeat else 201)


def add_api(app: FastAPI) -> None:
    @app.get("/api/messages", summary="Messages in order of arrival")
    async def messages(
        request: Request,
        to: str = "",
        kind: Kind | None = None,
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        content_too: Annotated[bool, Query(alias="content")] = True,
    ) -> dict[str, Any]:
        """`to` is the exact recipient; `after` the key of the last message read; `next` the key to go on from.
        `content=false` leaves out sender, subject, text and html, for who counts copies: that is far cheaper."""
        store: Store = request.app.state.store
        # An unescaped + of a telephone number or an address arrives as a space, which neither can hold.
        found = store.after(after, limit=limit, to=to.replace(" ", "+"), kind=kind, raw=content_too)
        messages = [shown(copy) if content_too else without_content(copy) for copy in found]
        return {"messages": messages, "next": found[-1].key if found else after}

    @app.delete("/api/messages", summary="Delete all")
    async def delete_messages(request: Request) -> dict[str, int]:
        return {"deleted": request.app.state.store.clear()}

    @app.get("/api/messages/{key}/raw", summary="The bytes as they came", response_model=None)
    async def raw(key: int, request: Request) -> Response:
        copy: Copy | None = request.app.state.store.get(key)
        if copy is None:
            return problem(404, "No such message")
        return Response(copy.raw, media_type="text/plain; charset=utf-8", headers=PAGE_HEADERS)

    @app.get("/api/behaviour")
    async def behaviour(request: Request) -> Behaviour:
        return request.app.state.behaviour

    @app.put("/api/behaviour", summary="Make the servers fail, for failure tests")
    async def set_behaviour(wanted: Behaviour, request: Request) -> Behaviour:
        request.app.state.behaviour = wanted
        return wanted


def shown(copy: Copy) -> dict[str, Any]:
    """A message with what it says."""
    return without_content(copy) | asdict(content(copy))


def without_content(copy: Copy) -> dict[str, Any]:
    """Whom a message has come to, and when."""
    return {name: getattr(copy, name) for name in COLUMNS if name != "raw"}


def add_pages(app: FastAPI) -> None:
    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index(
        request: Request, to: str = "", kind: Kind | Literal[""] = "", before: Annotated[int | None, Query()] = None
    ) -> Response:
        store: Store = request.app.state.store
        to = to.strip()
        found = store.before(before, limit=PAGE + 1, containing=to, kind=kind or None)
        here = found[:PAGE]
        older = urlencode({"to": to, "kind": kind, "before": here[-1].key}) if len(found) > PAGE else None
        messages = [shown(copy) for copy in here]
        return page(
            request, "index.html", messages=messages, older=older, to=to, kind=kind, before=before, total=store.count()
        )

    @app.get("/messages/{key}", response_class=HTMLResponse, include_in_schema=False)
    async def message(key: int, request: Request) -> Response:
        found: Copy | None = request.app.state.store.get(key)
        return page(request, "message.html", 200 if found else 404, message=shown(found) if found else None)

    @app.post("/delete", include_in_schema=False)
    async def delete_all(request: Request) -> Response:
        request.app.state.store.clear()
        return RedirectResponse("/", 303)

    @app.get("/robots.txt", include_in_schema=False)
    async def robots() -> Response:
        return PlainTextResponse("User-agent: *\nDisallow: /\n")


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    words = words_for(request.headers.get("accept-language", ""))
    return templates.TemplateResponse(request, template, {"w": words, **context}, status, PAGE_HEADERS)
