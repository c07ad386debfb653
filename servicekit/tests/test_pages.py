"""The shared layout: languages, directions, problems as pages, texts with no orphan."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from chikaya_servicekit import http
from chikaya_servicekit.http import Problem
from chikaya_servicekit.pages import Pages
from fastapi import FastAPI, Request, Response

NOON = datetime(2026, 6, 2, 11, 0, tzinfo=UTC)
PAGE = """{% extends "layout.html" %}{% import "forms.html" as forms %}
{% block main %}{{ t("hello", name=who) }} {{ grouped("20260000012374") }} {{ moment(now) }}
{{ forms.field("email", "E-mail", errors={"email": "non"}, hint="x@y") }}{% endblock %}"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    package = tmp_path / "shown_pages"
    (package / "templates").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "templates" / "page.html").write_text(PAGE)
    (package / "texts.yaml").write_text('hello: {fr: "Bonjour {name}", ar: "مرحبا {name}"}\nidle: {fr: "Oisif"}\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("shown_pages", None)
    pages, app = Pages("shown_pages"), FastAPI()
    http.install(app, "test", ())
    pages.install(app)
    app.state.pages = pages

    @app.get("/page")
    def page(request: Request) -> Response:
        return pages.render(request, "page.html", {"who": "<b>Ali</b>", "now": NOON})

    @app.get("/gone")
    def gone() -> None:
        raise Problem(409, "Trop tard", "Le délai est passé.")

    @app.get("/broken")
    def broken() -> None:
        raise LookupError("a secret")

    return app


def client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_a_page_is_in_the_language_asked_for_and_stays_so(site: FastAPI) -> None:
    async with client(site) as browser:
        french = await browser.get("/page")
        assert 'lang="fr" dir="ltr"' in french.text
        assert "2 juin 2026 12:00" in french.text  # Casablanca is an hour ahead of UTC, but in Ramadan
        arabic = await browser.get("/page?lang=ar")
        assert 'lang="ar" dir="rtl"' in arabic.text
        assert 'lang="ar" dir="rtl"' in (await browser.get("/page")).text


async def test_the_browsers_language_counts_before_anything_is_chosen(site: FastAPI) -> None:
    async with client(site) as browser:
        answer = await browser.get("/page", headers={"Accept-Language": "ar-MA,ar;q=0.9,fr;q=0.5"})
        assert 'dir="rtl"' in answer.text


async def test_peoples_words_are_escaped_and_references_stay_left_to_right(site: FastAPI) -> None:
    async with client(site) as browser:
        text = (await browser.get("/page")).text
    assert "&lt;b&gt;Ali&lt;/b&gt;" in text
    assert '<bdi dir="ltr" class="reference">2026 0000 0123 74</bdi>' in text


async def test_an_error_stands_beside_its_field_and_is_tied_to_it(site: FastAPI) -> None:
    async with client(site) as browser:
        text = (await browser.get("/page")).text
    assert 'aria-describedby="email-hint email-error" aria-invalid="true"' in text
    assert '<p class="field-error" id="email-error">non</p>' in text


async def test_a_browser_is_shown_a_page_and_a_program_a_problem(site: FastAPI) -> None:
    async with client(site) as browser:
        page = await browser.get("/gone", headers={"Accept": "text/html"})
        assert page.status_code == 409
        assert "Le délai est passé." in page.text
        assert page.headers["content-type"].startswith("text/html")
        problem = await browser.get("/gone")
        assert problem.headers["content-type"] == "application/problem+json"
        assert problem.json()["detail"] == "Le délai est passé."
        missing = await browser.get("/nowhere", headers={"Accept": "text/html"})
        assert missing.status_code == 404
        assert "<h1>" in missing.text


async def test_what_nobody_expected_is_a_page_too_and_tells_nothing(site: FastAPI) -> None:
    async with client(site) as browser:
        page = await browser.get("/broken", headers={"Accept": "text/html"})
    assert page.status_code == 500
    assert "<h1>" in page.text
    assert "secret" not in page.text


async def test_the_style_sheet_and_safe_headers_are_served(site: FastAPI) -> None:
    async with client(site) as browser:
        assert (await browser.get("/static/chikaya.css")).status_code == 200
        assert "frame-ancestors 'none'" in (await browser.get("/page")).headers["content-security-policy"]


def test_orphans_are_found(site: FastAPI) -> None:
    found = site.state.pages.orphans()
    assert found == {"unknown": set(), "unused": {"idle"}, "untranslated": {"idle"}}
