"""The API, through HTTP, on fakes."""

import base64
from datetime import timedelta
from typing import Any

import httpx
import pytest
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.notification import NoticeSent
from chikaya_servicekit import http
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.http import Problem
from chikaya_servicekit.staff import Person
from chikaya_servicekit.testing import RecordingPublisher
from chikaya_tracking.adapters.memory import MemoryAdministrations, MemoryCases, MemoryTries
from chikaya_tracking.api import Api
from chikaya_tracking.bootstrap import build
from chikaya_tracking.catalogue import Catalogue
from chikaya_tracking.domain.asking import KINDS, REFUSALS
from chikaya_tracking.domain.case import REASONS, Rules
from chikaya_tracking.settings import Settings
from chikaya_tracking.tries import FailedTries, Limit
from fastapi import FastAPI

KEY, CODE = b"a key for tests", "AB12-CD34-EF56"
RULES = Rules()


def letting_in(*roles: Any) -> Any:
    """Stands for `Staff.require`: the token names the role."""

    async def allowed(request: Any, credentials: Any) -> Any:
        if credentials is None:
            raise Problem(401, "Sign in", headers={"WWW-Authenticate": "Bearer"})
        if credentials.credentials not in roles:
            raise Problem(403, "Not you")
        return Person(credentials.credentials, "Nadia", "", (credentials.credentials,), None, "")

    return allowed


class Site:
    """Tracking's HTTP on fakes."""

    def __init__(self, make: Any) -> None:
        self.make, self.now = make, make.day(3)
        self.cases, self.publisher = MemoryCases(), RecordingPublisher()
        self.catalogue = Catalogue(MemoryAdministrations())
        tries = FailedTries(
            MemoryTries(), lambda: self.now, Limit(3, timedelta(minutes=15)), Limit(8, timedelta(minutes=1))
        )
        api = Api(
            cases=self.cases, catalogue=self.catalogue, tries=tries, publisher=self.publisher,
            clock=lambda: self.now, rules=RULES, verifier_key=KEY,
            readers=letting_in("agent", "coordinator"), agents=letting_in("agent"),
            overseers=letting_in("coordinator", "operator"), too_long=timedelta(hours=1),
        )  # fmt: skip
        app = FastAPI()
        http.install(app, "tracking", ())
        app.include_router(api.router())
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tracking")

    async def given(self, *causes: Any) -> Any:
        await self.cases.transact([self.make.submitted(), *causes], RULES)

    async def consume(self) -> Any:
        """What was asked is decided."""
        await self.cases.transact(list(self.publisher.events), RULES)

    async def read(self, reference: Any = None, **headers: Any) -> Any:
        where = f"/v1/complaints/{reference or self.make.reference}"
        return await self.client.get(where, headers=headers or {"Access-Code": CODE})

    async def ask(self, kind: Any, token: Any = None, key: Any = None, **fields: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {"Access-Code": CODE}
        if key:
            headers["Idempotency-Key"] = key
        where = f"/v1/complaints/{self.make.reference}/requests"
        return await self.client.post(where, json={"kind": kind, **fields}, headers=headers)


@pytest.fixture
async def site(make: Any) -> Any:
    site = Site(make)
    yield site
    await site.client.aclose()


def bearer(role: Any) -> Any:
    return {"Authorization": f"Bearer {role}"}


# -- reading


async def test_a_citizen_follows_a_complaint(site: Any, make: Any) -> None:
    row = AdministrationListed(
        slug="onee", name_fr="ONEE", name_ar="المكتب", kind="establishment", own_system=True, version=1
    )
    await site.catalogue.apply([Event("c", "/routing", site.now, row, topics.CATALOGUE.name)])
    await site.given(make.supplement(at=0.5), make.routed(), make.acknowledge(), make.answer())
    response = await site.read()
    shown = response.json()
    assert response.status_code == 200
    assert shown["state"] == "answered"
    assert shown["state_name"] == {"fr": "Réponse donnée", "ar": "تمت الإجابة"}
    assert "évaluer" in shown["told"]["fr"]
    assert shown["administration"] == {"slug": "onee", "name_fr": "ONEE", "name_ar": "المكتب"}
    assert shown["answer"] == "Le lampadaire est réparé."
    assert shown["allowed"] == ["rate", "reopen"]
    assert [line["type"] for line in shown["history"]] == [
        "received", "supplemented", "routed", "acknowledged", "answered",
    ]  # fmt: skip
    assert shown["history"][1]["text"] == "C'est dangereux le soir."
    assert shown["deadlines"]["relay"] == "2026-03-17T23:59:59Z"  # in Ramadan, Morocco keeps UTC
    assert shown["deadlines"]["paused"] is False
    assert shown["reference_spoken"] == " ".join(
        [make.reference[:4], make.reference[4:8], make.reference[8:12], make.reference[12:]]
    )
    assert (shown["contact"], shown["notices"]) == (None, None)


@pytest.mark.parametrize("written", ["{0}", "{1} {2} {3} {4}", "{1}-{2}-{3}-{4}"])
@pytest.mark.parametrize("code", ["AB12-CD34-EF56", "ab12cd34ef56", "AB12 CD34 EF56"])
async def test_references_and_codes_are_read_as_written(site: Any, make: Any, written: Any, code: Any) -> None:
    await site.given()
    r = make.reference
    assert (
        await site.read(written.format(r, r[:4], r[4:8], r[8:12], r[12:]), **{"Access-Code": code})
    ).status_code == 200


async def test_an_open_question_is_shown(site: Any, make: Any) -> None:
    await site.given(make.routed(), make.ask(at=2))
    shown = (await site.read()).json()
    assert shown["question"]["text"] == "Quelle rue ?"
    assert shown["deadlines"]["paused"] is True
    assert shown["allowed"] == ["answer-question", "supplement", "withdraw"]


async def test_a_wrong_code_and_an_unknown_reference_read_the_same(site: Any, make: Any) -> None:
    await site.given()
    wrong = await site.read(**{"Access-Code": "0000-0000-0000"})
    unknown = await site.read(make.another(77).reference)
    assert (wrong.status_code, wrong.text) == (unknown.status_code, unknown.text)
    assert wrong.status_code == 404
    assert "il y a quelques minutes" in wrong.json()["detail"]
    assert wrong.headers["content-type"] == "application/problem+json"
    empty = await site.read(**{"Access-Code": ""})
    assert empty.status_code == 404


async def test_a_case_that_nobody_has_submitted_yet_is_unknown(site: Any, make: Any) -> None:
    await site.cases.transact([make.routed()], RULES)
    assert (await site.read()).status_code == 404


async def test_a_reference_with_a_wrong_digit_is_named(site: Any, make: Any) -> None:
    response = await site.read(make.reference[:-1] + str((int(make.reference[-1]) + 1) % 10))
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "reference"


async def test_failed_tries_are_limited_for_a_reference(site: Any, make: Any) -> None:
    await site.given()
    for _ in range(3):
        assert (await site.read(**{"Access-Code": "0000-0000-0000"})).status_code == 404
    refused = await site.read()
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 15 * 60
    site.now += timedelta(minutes=15)
    assert (await site.read()).status_code == 200


async def test_failed_tries_are_limited_over_all(site: Any, make: Any) -> None:
    await site.given()
    for n in range(8):
        assert (await site.read(make.another(50 + n).reference)).status_code == 404
    assert (await site.read()).status_code == 429
    assert (await site.read(**bearer("agent"))).status_code == 200
    site.now += timedelta(minutes=1)
    assert (await site.read()).status_code == 200


async def test_without_code_or_sign_in_nobody_reads(site: Any, make: Any) -> None:
    await site.given()
    response = await site.client.get(f"/v1/complaints/{make.reference}")
    assert response.status_code == 401
    assert (await site.read(**bearer("officer"))).status_code == 403


async def test_staff_see_what_is_theirs(site: Any, make: Any) -> None:
    await site.given(make.routed(), make.transfer(at=2))
    sent = NoticeSent(
        complaint_id=make.complaint_id, event="e", notice="receipt", by="sms", language="ar", at=site.now, attempts=1
    )
    await site.cases.note([Event("o", "/notification", site.now, sent, topics.OUTCOMES.name)])
    agent = (await site.read(**bearer("agent"))).json()
    assert agent["contact"] == {"name": "Salma Idrissi", "phone": "+212612345678", "email": None}
    assert agent["notices"][0]["outcome"] == "sent"
    assert agent["history"][-1]["text"] == "Relève de la commune."
    coordinator = (await site.read(**bearer("coordinator"))).json()
    assert coordinator["contact"] is None
    citizen = (await site.read()).json()
    assert citizen["history"][-1]["text"] is None


async def test_a_citizen_is_not_shown_what_was_refused_to_an_administration(site: Any, make: Any) -> None:
    await site.given(make.routed(), make.answer("cnss"), make.reopen(at=2))
    citizen, agent = (await site.read()).json(), (await site.read(**bearer("agent"))).json()
    assert [e["by"] for e in citizen["history"] if e["type"] == "request-refused"] == ["citizen"]
    assert [e["by"] for e in agent["history"] if e["type"] == "request-refused"] == ["cnss", "citizen"]


# -- finding


async def test_an_agent_finds_a_callers_complaints(site: Any, make: Any) -> None:
    people = [make.another(n) for n in range(1, 24)]
    await site.cases.transact([one.submitted(at=n / 10) for n, one in enumerate(people)], RULES)
    seen, after = [], None
    while True:
        params = {"telephone": "06 12 34 56 78", **({"after": after} if after else {})}
        page = (await site.client.get("/v1/complaints", params=params, headers=bearer("agent"))).json()
        seen += [row["reference"] for row in page["complaints"]]
        after = page["next"]
        if not after:
            break
    assert seen == [one.reference for one in reversed(people)]


async def test_finding_is_for_agents(site: Any) -> None:
    params = {"telephone": "0612345678"}
    assert (await site.client.get("/v1/complaints", params=params)).status_code == 401
    assert (await site.client.get("/v1/complaints", params=params, headers=bearer("coordinator"))).status_code == 403


@pytest.mark.parametrize("params", [{"telephone": "abc"}, {}, {"telephone": "0612345678", "after": "zzz"}])
async def test_a_wrong_search_names_its_field(site: Any, params: Any) -> None:
    response = await site.client.get("/v1/complaints", params=params, headers=bearer("agent"))
    assert response.status_code == 422
    assert response.json()["errors"][0]["message_ar"]


async def test_what_waits_is_listed_for_who_oversees(site: Any, make: Any) -> None:
    others = [make.another(n) for n in range(2, 26)]
    await site.cases.transact([one.answer(at=n / 100) for n, one in enumerate(others)], RULES)
    await site.given(make.answer(at=2.99))
    first = (await site.client.get("/v1/parked", headers=bearer("operator"))).json()
    assert [row["complaint_id"] for row in first["parked"]] == [one.complaint_id for one in others[:20]]
    query = {"after": first["next"]}
    second = (await site.client.get("/v1/parked", params=query, headers=bearer("coordinator"))).json()
    assert second["next"] is None
    assert second["parked"][-1] == {
        "complaint_id": make.complaint_id, "reference": make.reference, "administration": "onee", "late": False,
        "type": "ma.chikaya.administration.answered.v1", "topic": "administration.onee.outbox.v1",
        "since": make.day(2.99).isoformat().replace("+00:00", "Z"), "waits_for": "decision", "overflowed": False,
    }  # fmt: skip
    row = second["parked"][0]
    assert (row["waits_for"], row["late"], row["reference"]) == ("submission", True, None)
    assert "lampadaire" not in str(first)
    for role, status in ((None, 401), ("agent", 403)):
        headers = bearer(role) if role else {}
        assert (await site.client.get("/v1/parked", headers=headers)).status_code == status
    assert (await site.client.get("/v1/parked?after=%C3%A9", headers=bearer("operator"))).status_code == 422


# -- asking


async def test_a_request_is_sent_decided_and_shown(site: Any, make: Any) -> None:
    await site.given(make.routed())
    response = await site.ask("supplement", text="Il y a des enfants.")
    assert response.status_code == 202
    asked = response.json()
    assert asked["status"] == "pending"
    [event] = site.publisher.events
    assert (event.topic, event.id, event.data.by) == ("complaints.requests.v1", asked["request_id"], "citizen")
    where = response.headers["Location"]
    assert (await site.client.get(where, headers={"Access-Code": CODE})).json()["status"] == "pending"
    await site.consume()
    assert (await site.client.get(where, headers={"Access-Code": CODE})).json()["status"] == "applied"
    assert (await site.client.get(where, headers={"Access-Code": "1"})).status_code == 404


async def test_an_agent_asks_for_the_caller(site: Any, make: Any) -> None:
    await site.given(make.routed())
    assert (await site.ask("withdraw", token="agent")).status_code == 202
    assert site.publisher.events[0].data.by == "agent"
    assert (await site.ask("withdraw", token="coordinator")).status_code == 403


async def test_what_is_not_allowed_is_said_at_once(site: Any, make: Any) -> None:
    await site.given(make.routed())
    response = await site.ask("rate", score=5)
    assert response.status_code == 409
    [error] = response.json()["errors"]
    assert error["code"] == "state"
    assert error["message_fr"]
    assert error["message_ar"]
    assert site.publisher.events == []


async def test_what_is_refused_later_says_why(site: Any, make: Any) -> None:
    await site.given(make.routed(), make.answer(at=2))
    asked = (await site.ask("rate", score=5)).json()
    await site.cases.transact([make.rate(at=2.5, score=1)], RULES)
    await site.consume()
    response = await site.client.get(
        f"/v1/complaints/{make.reference}/requests/{asked['request_id']}", headers={"Access-Code": CODE}
    )
    assert response.json()["status"] == "refused"
    assert response.json()["reason"] == "already-rated"
    assert response.json()["message"]["ar"] == REFUSALS["already-rated"][1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "supplement"}, "text"),
        ({"kind": "supplement", "text": ""}, "text"),
        ({"kind": "supplement", "text": "x" * 10_001}, "text"),
        ({"kind": "rate"}, "score"),
        ({"kind": "rate", "score": 6}, "score"),
        ({"kind": "dance"}, "kind"),
        ({}, "kind"),
    ],
)
async def test_a_wrong_request_names_its_field(site: Any, make: Any, body: Any, field: Any) -> None:
    await site.given(make.routed())
    where = f"/v1/complaints/{make.reference}/requests"
    response = await site.client.post(where, json=body, headers={"Access-Code": CODE})
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


async def test_the_same_key_is_the_same_request(site: Any, make: Any) -> None:
    await site.given(make.routed())
    first = (await site.ask("withdraw", key="k1", text="C'est réglé.")).json()
    again = (await site.ask("withdraw", key="k1", text="C'est réglé.")).json()
    assert again["request_id"] == first["request_id"]
    await site.consume()
    response = await site.ask("withdraw", key="k1", text="C'est réglé.")
    assert (response.status_code, response.json()["status"]) == (202, "applied")
    assert [e.short_name() for e in (await site.cases.by_reference(make.reference)).history][-1] == "withdrawn"
    assert (await site.ask("withdraw", key="k1", text="Autre chose.")).status_code == 409
    assert (await site.ask("withdraw", key="k2")).status_code == 409


async def test_kafka_away_is_said(site: Any, make: Any) -> None:
    await site.given(make.routed())
    site.publisher.fail = DependencyDown("away")
    response = await site.ask("withdraw")
    assert response.status_code == 503
    assert response.headers["Retry-After"]


async def test_a_case_takes_no_endless_texts(site: Any, make: Any) -> None:
    await site.given(*(make.supplement(at=1, text=str(n)) for n in range(200)))
    assert (await site.ask("supplement", text="encore")).status_code == 429
    assert (await site.ask("withdraw")).status_code == 202


def test_every_reason_has_words() -> None:
    assert set(REFUSALS) == set(REASONS)
    assert all(fr and ar for fr, ar in REFUSALS.values())


def test_every_kind_is_known() -> None:
    from chikaya_tracking.api import Asked

    schema = Asked.model_json_schema()["properties"]["kind"]["enum"]
    assert set(schema) == set(KINDS)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-03-02T09:00:00"])
async def test_a_cursor_that_no_page_gave_is_refused(site: Any, at: str) -> None:
    """The first two are times that Python reads and that no database keeps."""
    cursor = base64.urlsafe_b64encode(f"{at} x".encode()).decode()
    query = {"telephone": "0612345678", "after": cursor}
    answer = await site.client.get("/v1/complaints", params=query, headers=bearer("agent"))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "after")


async def test_a_stranger_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VERIFIER_KEY", "SESSION_SECRET", "OIDC_CLIENT_SECRET"):
        monkeypatch.setenv(f"CHIKAYA_{name}", name * 4)
    app, arrived = build(Settings()).app, 0

    async def endless() -> Any:
        nonlocal arrived
        while arrived < 100:
            arrived += 1
            yield b" " * 64 * 1024

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tracking") as client:
        answer = await client.post("/v1/complaints/2/requests", content=endless())
    assert (answer.status_code, arrived < 10) == (413, True)
