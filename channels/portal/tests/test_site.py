"""The site as a whole: texts, languages, headers, health, limits."""

import asyncio
from typing import Any, get_args

import httpx
import pytest
from chikaya_contracts.messages import lifecycle, routing
from chikaya_portal.about import INADMISSIBLE
from chikaya_portal.limits import SlidingWindow, address, networks
from chikaya_portal.settings import Settings
from chikaya_servicekit.pages import Pages
from fastapi import Request
from pydantic import ValidationError

PAGES = ("/", "/file", "/follow", "/privacy", "/accessibility")


def test_no_text_is_missing_unused_or_untranslated() -> None:
    assert Pages("chikaya_portal").orphans() == {"unknown": set(), "unused": set(), "untranslated": set()}


def test_every_reason_and_event_that_the_contracts_know_has_its_words() -> None:
    texts = Pages("chikaya_portal").texts
    for reason in get_args(routing.RejectionReason):
        assert f"rejection.{reason}" in texts
    assert set(INADMISSIBLE) <= set(get_args(routing.RejectionReason))
    for model in vars(lifecycle).values():
        if isinstance(model, type) and issubclass(model, lifecycle.CaseEvent) and model is not lifecycle.CaseEvent:
            assert f"event.{model.short_name()}" in texts


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("language", "direction"), [("fr", "ltr"), ("ar", "rtl")])
async def test_every_page_is_there_in_both_languages(site: Any, path: str, language: str, direction: str) -> None:
    async with site.browser(language) as browser:
        page = await browser.get(path)
    assert page.status_code == 200
    assert f'<html lang="{language}" dir="{direction}">' in page.text
    assert page.text.count("<h1") == 1
    assert "<script" not in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def test_the_first_page_says_the_delays_what_is_not_for_here_and_the_telephone(
    browser: httpx.AsyncClient,
) -> None:
    page = await browser.get("/")
    for words in ("15 jours", "60 jours", "procureur du Roi", "tel:3737", 'href="/file"', 'href="/follow"'):
        assert words in page.text


async def test_a_page_that_is_not_there_is_a_page(browser: httpx.AsyncClient) -> None:
    missing = await browser.get("/nowhere")
    assert missing.status_code == 404
    assert "<h1>" in missing.text


async def test_it_is_ready_without_the_services_and_serves_its_styles(site: Any, services: Any) -> None:
    services.away = {"intake", "tracking", "routing"}
    async with site.app.router.lifespan_context(site.app), site.browser() as browser:
        for _ in range(50):
            ready = await browser.get("/readyz")
            if ready.status_code == 200:
                break
            await asyncio.sleep(0)
        assert ready.json() == {"status": "ready"}
        assert (await browser.get("/livez")).status_code == 200
        assert (await browser.get("/portal/portal.css")).status_code == 200


def test_a_window_slides() -> None:
    now = 0.0
    window = SlidingWindow(2, 10, lambda: now)
    assert [window.wait_s("a"), window.wait_s("a"), window.wait_s("b")] == [0, 0, 0]
    now = 4
    assert window.wait_s("a") == 6
    now = 10
    assert window.wait_s("a", 2) == 0
    assert window.wait_s("b", 3) > 0


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("1.2.3.4", None, "1.2.3.4"),
        ("1.2.3.4", "9.9.9.9", "1.2.3.4"),
        ("10.0.0.1", "9.9.9.9, 10.0.0.2", "9.9.9.9"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "unknown", "unknown"),
        ("2001:db8:1:2:3::4", None, "2001:db8:1:2::/64"),
    ],
)
def test_an_address_is_the_nearest_that_is_no_proxy(peer: str, forwarded: str | None, found: str) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    request = Request({"type": "http", "client": (peer, 1), "headers": headers})
    assert address(request, networks("10.0.0.0/8")) == found


def test_a_setting_that_is_no_network_is_refused_at_start() -> None:
    with pytest.raises(ValidationError, match="trusted_proxies"):
        Settings(channel_key="k", session_secret="s" * 32, trusted_proxies="10.0.0.0/8, somewhere")
