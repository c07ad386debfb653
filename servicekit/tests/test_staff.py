"""Staff sign-in against the real local provider: who gets in, who does not, and what a browser or a program is told."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from chikaya_local.login import token_for
from chikaya_servicekit import http, staff
from chikaya_servicekit.staff import Person, Staff, StaffSettings, safe_path
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse, Response

PROVIDER_PORT = 22050
ISSUER = f"http://127.0.0.1:{PROVIDER_PORT}"
SITE = "http://127.0.0.1:22052"
CALLBACK = f"{SITE}/login/callback"
SECRET = "a-client-secret-for-tests"
BROWSER = {"Accept": "text/html,application/xhtml+xml"}
TRIAGE, OFFICER = "triage@chikaya.local", "officer.habous@chikaya.local"


@contextmanager
def provider(port: int) -> Iterator[subprocess.Popen[bytes]]:
    clients = {"routing": {"secret": SECRET, "redirect_uris": [CALLBACK]}}
    environment = {**os.environ, "CHIKAYA_PORT": str(port), "CHIKAYA_OIDC_CLIENTS": json.dumps(clients)}
    process = subprocess.Popen([sys.executable, "-m", "chikaya_local.identity"], env=environment)
    try:
        deadline = time.monotonic() + 20
        while True:
            assert process.poll() is None
            try:
                assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@pytest.fixture(scope="module")
def running() -> Iterator[None]:
    with provider(PROVIDER_PORT):
        yield


class Site:
    """A process with one triage page and one API, and a clock that stands still until told."""

    def __init__(self, issuer: str = ISSUER, **changes: Any) -> None:
        self.time = time.time()
        known: dict[str, Any] = {
            "oidc_issuer": issuer,
            "oidc_client_id": "routing",
            "oidc_client_secret": SECRET,
            "session_secret": "s" * 32,
            "public_url": SITE,
        }
        self.staff = Staff(StaffSettings(**known | changes), now=lambda: self.time)
        self.app = FastAPI()
        http.install(self.app, "routing", ())
        self.app.include_router(self.staff.router)

        @self.app.get("/triage")
        async def page(person: Annotated[Person, Depends(self.staff.require("triage", "coordinator"))]) -> Response:
            return HTMLResponse(person.name)

        @self.app.post("/triage")
        async def settle(person: Annotated[Person, Depends(self.staff.require("triage"))]) -> dict[str, Any]:
            return {"sub": person.sub, "roles": person.roles, "administration": person.administration}

        @self.app.get("/habous")
        async def habous(person: Annotated[Person, Depends(self.staff.require("officer"))]) -> dict[str, Any]:
            return {"sub": person.sub, "administration": person.administration, "token": person.access_token}

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url=SITE, headers=BROWSER) as client:
            yield client

    async def ask(self, path: str = "/triage", token: str | None = None, method: str = "GET") -> httpx.Response:
        """What a program gets."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=SITE) as client:
            return await client.request(method, path, headers=headers)


async def sign_in(browser: httpx.AsyncClient, path: str = "/triage", sub: str = TRIAGE) -> httpx.Response:
    """From the page, over the provider, back to the page; gives the last redirect."""
    asked = await browser.get(path)
    assert asked.status_code == 303
    sent = await browser.get(asked.headers["location"])
    assert sent.status_code == 302
    async with httpx.AsyncClient() as outside:
        clicked = await outside.post(sent.headers["location"], data={"sub": sub})
    assert clicked.headers["location"].startswith(CALLBACK)
    return await browser.get(clicked.headers["location"])


async def token_of(sub: str, issuer: str = ISSUER) -> str:
    return await asyncio.to_thread(token_for, issuer, "routing", SECRET, CALLBACK, sub)


async def test_a_browser_signs_in_and_comes_back_where_it_was(running: None) -> None:
    async with Site().browser() as browser:
        back = await sign_in(browser, "/triage?page=2&q=%D8%A7")
        assert back.status_code == 303
        assert back.headers["location"] == "/triage?page=2&q=%D8%A7"
        page = await browser.get("/triage")
        assert (page.status_code, page.text) == (200, "Salma Bennani")


async def test_the_cookies_are_signed_hidden_from_scripts_and_small(running: None) -> None:
    site = Site()
    async with site.browser() as browser:
        back = await sign_in(browser)
        cookie = next(c for c in back.headers.get_list("set-cookie") if c.startswith("chikaya-routing="))
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Secure" not in cookie
        assert len(cookie) < 4096
        browser.cookies.set("chikaya-routing", browser.cookies["chikaya-routing"][:-2] + "xx", domain="127.0.0.1")
    async with site.browser() as forger:
        forged = Site(session_secret="t" * 32)
        async with forged.browser() as other:
            await sign_in(other)
            forger.cookies.set("chikaya-routing", other.cookies["chikaya-routing"])
        assert (await forger.get("/triage")).status_code == 303


async def test_a_site_under_tls_marks_its_cookies_secure(running: None) -> None:
    async with Site(public_url="https://triage.chikaya.example").browser() as browser:
        sent = await browser.get("https://triage.chikaya.example/login")
    cookie = sent.headers["set-cookie"]
    assert cookie.startswith("__Host-chikaya-routing-login=")
    assert "Secure" in cookie
    assert "Path=/" in cookie


async def test_the_request_to_the_provider_carries_state_nonce_and_proof_key(running: None) -> None:
    async with Site().browser() as browser:
        sent = await browser.get("/login")
    asked = parse_qs(urlsplit(sent.headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert {"state", "nonce", "code_challenge"} <= asked.keys()
    assert asked["redirect_uri"] == [CALLBACK]


async def test_a_session_ends_after_eight_hours(running: None) -> None:
    site = Site()
    async with site.browser() as browser:
        await sign_in(browser)
        site.time += 8 * 3600 - 1
        assert (await browser.get("/triage")).status_code == 200
        site.time += 2
        assert (await browser.get("/triage")).status_code == 303


async def test_a_sign_in_that_was_not_begun_here_is_refused(running: None) -> None:
    site = Site()
    async with site.browser() as victim, site.browser() as attacker:
        begun = await attacker.get("/login")
        async with httpx.AsyncClient() as outside:
            clicked = await outside.post(begun.headers["location"], data={"sub": TRIAGE})
        # The victim is led to the attacker's answer: with no sign-in of their own, then with another one.
        assert (await victim.get(clicked.headers["location"])).status_code == 400
        await victim.get("/login")
        refused = await victim.get(clicked.headers["location"])
        assert refused.status_code == 400
        assert 'dir="rtl"' in refused.text
        assert (await victim.get("/triage")).status_code == 303


async def test_who_says_no_at_the_provider_is_told_so(running: None) -> None:
    async with Site().browser() as browser:
        sent = await browser.get("/login")
        async with httpx.AsyncClient() as outside:
            denied = await outside.post(sent.headers["location"], data={"action": "deny"})
        answer = await browser.get(urlsplit(denied.headers["location"])._replace(scheme="", netloc="").geturl())
        assert answer.status_code == 400


async def test_a_wrong_role_is_a_page_for_a_browser_and_a_problem_for_a_program(running: None) -> None:
    site = Site()
    async with site.browser() as browser:
        await sign_in(browser, "/habous", OFFICER)
        page = await browser.get("/triage")
        assert page.status_code == 403
        assert page.headers["content-type"].startswith("text/html")
        assert "Accès refusé" in page.text
        assert "الولوج مرفوض" in page.text
        assert (await browser.get("/habous")).json()["administration"] == "habous"
    problem = await site.ask(token=await token_of(OFFICER))
    assert problem.status_code == 403
    assert problem.headers["content-type"] == "application/problem+json"


async def test_a_program_without_a_token_is_told_how(running: None) -> None:
    site = Site()
    for token in (None, "made-up", "", "مزور", "x" * 9000):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(site.app), base_url=SITE) as client:
            headers = {} if token is None else {b"Authorization": f"Bearer {token}".encode()}
            answer = await client.get("/triage", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_another_scheme_does_not_fall_back_to_the_cookie(running: None) -> None:
    async with Site().browser() as browser:
        await sign_in(browser)
        assert (await browser.get("/triage", headers={"Authorization": "Basic eDp5"})).status_code == 401


async def test_a_token_tells_who_and_can_be_passed_on(running: None) -> None:
    site = Site()
    token = await token_of(OFFICER)
    answer = (await site.ask("/habous", token)).json()
    assert answer == {"sub": OFFICER, "administration": "habous", "token": token}
    # The token of a browser's session is as good.
    async with site.browser() as browser:
        await sign_in(browser, "/habous", OFFICER)
        passed_on = (await browser.get("/habous")).json()["token"]
    assert (await site.ask("/habous", passed_on)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": SITE}, 200),
        ({"Referer": f"{SITE}/triage?page=2"}, 200),
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8002"}, 403),
        ({"Origin": "http://evil.example", "Referer": f"{SITE}/"}, 403),
        ({"Referer": f"http://evil.example/{SITE}"}, 403),
        ({"Origin": "http://[broken"}, 403),
    ],
)
async def test_a_form_of_another_site_changes_nothing(running: None, headers: dict[str, str], status: int) -> None:
    async with Site().browser() as browser:
        await sign_in(browser)
        assert (await browser.post("/triage", headers=headers)).status_code == status


async def test_a_program_with_a_token_needs_no_origin(running: None) -> None:
    answer = await Site().ask(token=await token_of(TRIAGE), method="POST")
    assert answer.json() == {"sub": TRIAGE, "roles": ["triage"], "administration": None}


async def test_a_form_sent_after_the_session_ended_leads_back_to_its_page(running: None) -> None:
    async with Site().browser() as browser:
        sent = await browser.post("/triage", headers={"Origin": SITE, "Referer": f"{SITE}/triage?page=2"})
        assert sent.headers["location"] == "/login?next=%2Ftriage%3Fpage%3D2"
        elsewhere = await browser.post("/triage", headers={"Referer": "http://evil.example/x"})
        assert elsewhere.headers["location"] == "/login?next=%2F"
        fragment = await browser.get("/triage", headers={"HX-Request": "true", "HX-Current-URL": f"{SITE}/list"})
        assert (fragment.status_code, fragment.headers["hx-redirect"]) == (401, "/login?next=%2Flist")


async def test_signing_out_ends_the_session_here_and_leads_to_the_provider(running: None) -> None:
    async with Site().browser() as browser:
        await sign_in(browser)
        assert (await browser.post("/logout", headers={"Origin": "http://evil.example"})).status_code == 403
        assert "Se déconnecter" in (await browser.get("/logout")).text
        left = await browser.post("/logout", headers={"Origin": SITE})
        assert left.status_code == 303
        assert left.headers["location"].startswith(f"{ISSUER}/oauth2/end_session?")
        async with httpx.AsyncClient() as outside:
            assert (await outside.get(left.headers["location"])).status_code == 200
        assert (await browser.get("/triage")).status_code == 303
        assert "Vous êtes déconnecté" in (await browser.get("/logout")).text


async def test_localhost_is_led_to_the_address_that_the_provider_knows(running: None) -> None:
    async with Site().browser() as browser:
        sent = await browser.get("http://localhost:22052/login?next=/triage")
        assert sent.headers["location"] == f"{SITE}/login?next=%2Ftriage"


async def test_a_token_is_asked_about_once_in_thirty_seconds_however_many_ask(
    running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site()
    asked: list[str] = []
    really_ask = site.staff._provider._ask

    async def counted(token: str) -> Person | None:
        asked.append(token)
        return await really_ask(token)

    monkeypatch.setattr(site.staff._provider, "_ask", counted)
    token = await token_of(TRIAGE)
    answers = await asyncio.gather(*(site.ask(token=token) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(asked) == 1
    site.time += staff.TOKEN_CACHED_S + 1
    await site.ask(token=token)
    assert len(asked) == 2


async def test_the_tokens_kept_are_bounded(running: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staff, "TOKENS_CACHED", 2)
    site = Site()
    for _ in range(4):
        assert (await site.ask(token=await token_of(TRIAGE))).status_code == 200
    assert len(site.staff._provider._known) == 2


async def test_nobody_is_let_in_while_the_provider_is_away() -> None:
    issuer = f"http://127.0.0.1:{PROVIDER_PORT + 4}"
    site = Site(issuer)
    with provider(PROVIDER_PORT + 4):
        known, unknown = await token_of(TRIAGE, issuer), await token_of(TRIAGE, issuer)
        assert (await site.ask(token=known)).status_code == 200
    site.time += staff.TOKEN_CACHED_S - 1
    assert (await site.ask(token=known)).status_code == 200
    refused = await site.ask(token=unknown)
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) > 0
    site.time += 2
    assert (await site.ask(token=known)).status_code == 503


async def test_a_browser_is_told_that_the_provider_is_away() -> None:
    async with Site("http://127.0.0.1:22099").browser() as browser:
        page = await browser.get("/login")
    assert page.status_code == 503
    assert int(page.headers["retry-after"]) > 0
    assert "الهوية" in page.text


async def test_a_provider_that_names_another_issuer_is_not_believed(running: None) -> None:
    site = Site(f"http://localhost:{PROVIDER_PORT}")
    assert (await site.ask(token=await token_of(TRIAGE))).status_code == 503


@pytest.mark.parametrize("wanted", ["/", "/triage", "/triage?page=2&q=%D8%A7#x", "/cases/1/../2"])
def test_a_path_of_this_site_is_gone_back_to(wanted: str) -> None:
    assert safe_path(wanted) == wanted


@pytest.mark.parametrize(
    "wanted",
    [
        "", "triage", "//evil.example", "/\\evil.example", "\\\\evil.example", "http://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example", "/\n", "///evil.example", "//[evil", "/login", "/logout", "/" + "x" * 2000, None, ["/"],
    ],
)  # fmt: skip
def test_nothing_else_is(wanted: object) -> None:
    assert safe_path(wanted) == "/"


def test_a_page_for_nobody_in_particular_cannot_be_written() -> None:
    staff = Site().staff
    with pytest.raises(ValueError, match="name at least one"):
        staff.require()
    with pytest.raises(ValueError, match="name at least one"):
        staff.require("triage", "chief")


def test_a_person_shown_in_a_log_has_no_token() -> None:
    person = Person("s", "n", "e", ("triage",), None, "the-token")
    assert "the-token" not in repr(person)
