"""Intake, tracking and routing as the channels see them, in memory: the same paths, bodies, statuses and problems."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx
import pytest
from chikaya_contracts import access, legal_time, reference, states
from chikaya_contracts.submission import Submission
from chikaya_servicekit import http
from chikaya_servicekit.http import Problem, unavailable
from chikaya_servicekit.validation import field_error
from fastapi import Body, FastAPI, Header, Request, UploadFile

KEY = "a-channel-key"
RECEIVED = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
COMMUNES = [
    ("04.421.01.0", "Rabat", "الرباط", "Rabat", "الرباط"),
    ("04.441.01.0", "Salé", "سلا", "Salé", "سلا"),
    ("05.255.03.1", "Oulad Said", "أولاد سعيد", "Fquih Ben Salah", "الفقيه بن صالح"),
    ("06.461.05.9", "Oulad Saïd", "أولاد سعيد", "Settat", "سطات"),
]


class Services:
    """The three services. Tests set what they need: `away` names the ones that answer 503."""

    def __init__(self) -> None:
        self.now = RECEIVED
        self.away: set[str] = set()
        self.by_key: dict[str, tuple[str, dict[str, Any]]] = {}
        self.filed: list[Submission] = []
        self.files: dict[str, tuple[str, bytes]] = {}
        self.cases: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, str] = {}
        self.requests: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, Any]] = []
        self.decide = True
        self.limited = 0
        self.token_status = 200  # what an agent's token gives
        self.app = FastAPI()
        http.install(self.app, "fake", ())
        self._intake()
        self._tracking()
        self._routing()

    # -- what tests do behind the channels' back

    def case(self, number: int = 1, state: str = "received", **more: Any) -> tuple[str, str]:
        """A case with the rights of its state; gives its reference and access code."""
        name = reference.make(2026, number)
        told = states.states()[state]
        open_ = told.open
        due = legal_time.deadlines(RECEIVED)
        allowed = ["supplement", "withdraw"] if open_ else ["rate", "reopen"] if state == "answered" else []
        self.cases[name] = {
            "complaint_id": f"id-{number}",
            "reference": name,
            "reference_spoken": reference.spoken(name),
            "nature": "complaint",
            "channel": "portal",
            "language": "fr",
            "received_at": RECEIVED.isoformat(),
            "text": "Le lampadaire <script>alert(1)</script> est éteint.",
            "state": state,
            "state_name": {"fr": told.fr, "ar": told.ar},
            "told": {"fr": told.told_fr, "ar": told.told_ar},
            "administration": None,
            "deadlines": {"relay": due.relay.isoformat(), "answer": due.answer.isoformat(), "paused": False},
            "question": None,
            "answer": None,
            "answered_at": None,
            "rejection": None,
            "rating": None,
            "allowed": allowed,
            "history": [{"sequence": 1, "type": "received", "at": RECEIVED.isoformat(), "state": "received"}],
            "attachments": [],
            "contact": {"name": "Salma Idrissi", "phone": "+212612345678"},
            **more,
        }
        self.codes[name] = access.code(b"a secret", name)
        return name, self.codes[name]

    # -- what they answer

    def _needs(self, service: str) -> None:
        if service in self.away:
            raise unavailable()

    def _intake(self) -> None:
        @self.app.post("/v1/complaints", status_code=201)
        async def complaint(
            submission: Submission,
            x_api_key: Annotated[str, Header()] = "",
            idempotency_key: Annotated[str, Header()] = "",
        ) -> dict[str, Any]:
            self._needs("intake")
            if x_api_key != KEY:
                raise Problem(401, "Clé")
            body = submission.model_dump_json()
            if idempotency_key in self.by_key:
                known, given = self.by_key[idempotency_key]
                if known != body:
                    raise Problem(409, "Clé", errors=[field_error("key_reused", "Idempotency-Key")])
                return given
            if any(file not in self.files for file in submission.attachments):
                raise Problem(422, "Données invalides", errors=[field_error("attachment_unknown", "attachments")])
            self.filed.append(submission)
            name, code = self.case(1000 + len(self.filed))
            due = legal_time.deadlines(self.now)
            given = {
                "complaint_id": f"id-{len(self.filed)}",
                "reference": name,
                "access_code": code,
                "received_at": self.now.isoformat(),
                "deadlines": {"relay": due.relay.isoformat(), "answer": due.answer.isoformat()},
            }
            self.by_key[idempotency_key] = (body, given)
            return given

        @self.app.post("/v1/attachments", status_code=201)
        async def attachment(file: UploadFile, x_api_key: Annotated[str, Header()] = "") -> dict[str, Any]:
            self._needs("intake")
            content = await file.read()
            if not content.startswith((b"%PDF", b"\xff\xd8")):
                raise Problem(415, "Type")
            name = f"file-{len(self.files) + 1}"
            self.files[name] = (str(file.filename), content)
            return {
                "id": name,
                "filename": file.filename,
                "media_type": "application/pdf",
                "size": len(content),
                "sha256": "",
            }

    def _tracking(self) -> None:
        def staff(authorization: str) -> None:
            if self.token_status != 200 or not authorization.startswith("Bearer "):
                raise Problem(max(self.token_status, 401), "Connexion nécessaire")

        def reading(request: Request, written: str) -> dict[str, Any]:
            self._needs("tracking")
            if self.limited:
                raise Problem(429, "Trop d'essais", headers={"Retry-After": str(self.limited)})
            try:
                name = reference.parse(written)
            except ValueError:
                raise Problem(422, "Données", errors=[field_error("value_error", "reference")]) from None
            token = request.headers.get("authorization", "")
            if token and "access-code" not in request.headers:
                staff(token)
                if name in self.cases:
                    return self.cases[name]
            elif name in self.cases:
                code = access.normalised(request.headers.get("access-code", ""))
                if code == access.normalised(self.codes[name]):
                    return {k: v for k, v in self.cases[name].items() if k != "contact"}
            raise Problem(404, "Dossier introuvable")

        @self.app.get("/v1/complaints")
        async def find(request: Request, telephone: str, after: str = "") -> dict[str, Any]:
            self._needs("tracking")
            staff(request.headers.get("authorization", ""))
            if not re.fullmatch(r"\+?[\d ]{9,15}", telephone):
                raise Problem(422, "Données invalides", errors=[field_error("phone", "telephone")])
            start = int(after or 0)
            rows = sorted(self.cases.values(), key=lambda c: c["reference"], reverse=True)
            page = rows[start : start + 20]
            return {"complaints": page, "next": str(start + 20) if len(rows) > start + 20 else None}

        @self.app.get("/v1/complaints/{written}")
        async def case(request: Request, written: str) -> dict[str, Any]:
            return reading(request, written)

        @self.app.post("/v1/complaints/{written}/requests", status_code=202)
        async def ask(
            request: Request,
            written: str,
            asked: Annotated[dict[str, Any], Body()],
            idempotency_key: Annotated[str, Header()] = "",
        ) -> dict[str, Any]:
            found = reading(request, written)
            if idempotency_key in self.requests:
                return self.requests[idempotency_key]
            if asked["kind"] not in found["allowed"]:
                error = field_error("state", "kind").model_copy(
                    update={"message_fr": "L'état du dossier ne le permet pas.", "message_ar": "الحالة لا تسمح."}
                )
                raise Problem(409, "Demande impossible", errors=[error])
            if len(asked.get("text") or "") > 10_000:
                raise Problem(422, "Données", errors=[field_error("string_too_long", "text", max_length=10_000)])
            self.asked.append(asked | {"by": "agent" if request.headers.get("authorization") else "citizen"})
            self.requests[idempotency_key] = {"request_id": f"r{len(self.asked)}", "status": "pending"}
            return self.requests[idempotency_key]

        @self.app.get("/v1/complaints/{written}/requests/{request_id}")
        async def outcome(request: Request, written: str, request_id: str) -> dict[str, Any]:
            reading(request, written)
            known = request_id in {given["request_id"] for given in self.requests.values()}
            return {"request_id": request_id, "status": "applied" if self.decide and known else "pending"}

    def _routing(self) -> None:
        @self.app.get("/v1/administrations")
        async def administrations() -> dict[str, Any]:
            self._needs("routing")
            rows = [
                (
                    "onee",
                    "Office national de l'électricité et de l'eau",
                    "المكتب الوطني للكهرباء والماء",
                    "establishment",
                ),
                ("cnss", "Caisse nationale de sécurité sociale", "الصندوق الوطني للضمان الاجتماعي", "establishment"),
                ("commune-04-421-01-0", "Commune de Rabat", "جماعة الرباط", "commune"),
            ]
            return {
                "administrations": [dict(zip(("slug", "name_fr", "name_ar", "kind"), row, strict=True)) for row in rows]
            }

        @self.app.get("/v1/places")
        async def places(q: str) -> dict[str, Any]:
            self._needs("routing")
            fields = ("code", "name_fr", "name_ar", "province_fr", "province_ar")
            wanted = q.casefold().replace("ï", "i")
            fits = [row for row in COMMUNES if row[1].casefold().replace("ï", "i").startswith(wanted) or row[2] == q]
            return {"places": [dict(zip(fields, row, strict=True)) for row in fits]}


@pytest.fixture
def services() -> Services:
    """Fresh for each test."""
    return Services()


@pytest.fixture
async def to_services(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """What a channel calls the services with."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(services.app)) as client:
        yield client


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses pass at once; gives how long they would have been."""
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, result: Any = None) -> None:
        waits.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waits


@pytest.fixture
def days() -> Any:
    """`days(n)`: the instant n days after the receipt."""
    return lambda n: RECEIVED + timedelta(days=n)
