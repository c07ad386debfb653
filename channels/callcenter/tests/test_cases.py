"""Finding a case, reading it aloud, asking something of it for the caller."""

from html import unescape
from typing import Any, get_args

import httpx
import pytest
from chikaya_contracts.messages import lifecycle, routing
from chikaya_servicekit.pages import Pages

ADMINISTRATION = {"slug": "onee", "name_fr": "Office de l'eau", "name_ar": "مكتب الماء"}
AT = "2026-03-04T10:00:00+00:00"


def test_no_text_is_missing_unused_or_untranslated() -> None:
    pages = Pages("chikaya_callcenter")
    assert pages.orphans() == {"unknown": set(), "unused": set(), "untranslated": set()}
    for reason in get_args(routing.RejectionReason):
        assert f"rejection.{reason}" in pages.texts
    for model in vars(lifecycle).values():
        if isinstance(model, type) and issubclass(model, lifecycle.CaseEvent) and model is not lifecycle.CaseEvent:
            assert f"event.{model.short_name()}" in pages.texts


@pytest.mark.parametrize(
    ("typed", "leads"),
    [
        ("06 12 34 56 78", "/cases?telephone=0612345678"),
        ("+212 612-345678", "/cases?telephone=%2B212612345678"),
        ("00212612345678", "/cases?telephone=00212612345678"),
        ("٠٦١٢٣٤٥٦٧٨", "/cases?telephone=0612345678"),
    ],
)
async def test_one_field_finds_by_telephone(agent: httpx.AsyncClient, typed: str, leads: str) -> None:
    assert (await agent.get("/", params={"q": typed})).headers["location"] == leads


async def test_one_field_finds_by_reference_and_says_what_is_mistyped(agent: httpx.AsyncClient, services: Any) -> None:
    name, _ = services.case()
    found = await agent.get("/", params={"q": f"{name[:4]} {name[4:8]} {name[8:]}"})
    assert found.headers["location"] == f"/cases/{name}"
    wrong = str(int(name) + 1)
    for q, status, said in (
        (wrong, 422, "faites-la répéter"),
        ("Salma", 422, "ni une référence"),
        ("", 422, "Écrivez une référence"),
    ):
        answer = await agent.get("/", params={"q": q})
        assert (answer.status_code, said in answer.text) == (status, True)
    assert (await agent.get("/")).status_code == 200
    for path, status in ((f"/cases/{wrong}", 422), ("/cases/20260000099956", 422)):
        assert (await agent.get(path)).status_code == status
    del services.cases[name]
    unknown = await agent.get(f"/cases/{name}")
    assert (unknown.status_code, "il y a quelques minutes" in unknown.text) == (404, True)


async def test_a_callers_cases_come_page_by_page(agent: httpx.AsyncClient, services: Any) -> None:
    names = [services.case(number)[0] for number in range(1, 26)]
    first = await agent.get("/cases", params={"telephone": "0612345678"})
    assert first.text.count('href="/cases/2026') == 20
    assert "/cases?telephone=0612345678&amp;after=20" in first.text
    last = await agent.get("/cases", params={"telephone": "0612345678", "after": "20"})
    assert f'href="/cases/{names[0]}"' in last.text
    assert "Dossiers plus anciens" not in last.text
    assert "/file?phone=0612345678" in last.text
    assert (await agent.get("/cases", params={"telephone": "abc"})).status_code == 422
    services.cases.clear()
    assert "Aucun dossier à ce numéro" in (await agent.get("/cases", params={"telephone": "0612345678"})).text


@pytest.mark.parametrize("language", ["fr", "ar"])
async def test_a_case_is_read_aloud_in_both_languages(console: Any, services: Any, language: str) -> None:
    name, _ = services.case(
        state="waiting_for_citizen",
        administration=ADMINISTRATION,
        question={"asked_by": "triage", "at": AT, "question": "place"},
        history=[{"sequence": 1, "type": "routed", "at": AT, "state": "routed", "administration": ADMINISTRATION}],
        notices=[{"notice": "receipt", "by": "sms", "language": "fr", "at": AT, "outcome": "failed"}],
    )
    async with console.browser(language) as agent:
        page = unescape((await agent.get(f"/cases/{name}")).text)
    assert f'<html lang="{language}"' in page
    for sentence in (
        "a été reçue le lundi 2 mars 2026. Son état : En attente de votre réponse.",
        "Elle est auprès de : Office de l'eau.",
        "On vous demande : où se trouve le problème",
        "تم التوصل به يوم الاثنين، 2 مارس 2026",
        "وهو لدى: مكتب الماء",
        "+212612345678",
    ):
        assert sentence in page
    assert {"fr": "échec", "ar": "فشل الإرسال"}[language] in page
    assert "<script>alert" not in page.replace("Le lampadaire <script>alert(1)</script>", "")


async def test_peoples_words_are_never_markup(agent: httpx.AsyncClient, services: Any) -> None:
    name, _ = services.case(state="answered", answer="<b>Fait</b>", answered_at=AT)
    page = await agent.get(f"/cases/{name}")
    assert "<script>" not in page.text
    assert "&lt;b&gt;Fait&lt;/b&gt;" in page.text


async def test_why_it_was_rejected_and_where_to_go_is_read_too(agent: httpx.AsyncClient, services: Any) -> None:
    name, _ = services.case(state="rejected", rejection="police-report")
    page = await agent.get(f"/cases/{name}")
    assert "procureur du Roi" in page.text
    assert "وكيل الملك" in page.text


async def test_requests_are_made_for_the_caller_by_the_agent(
    agent: httpx.AsyncClient, services: Any, fields: Any, no_waiting: Any
) -> None:
    name, _ = services.case(allowed=["answer-question", "supplement", "withdraw", "rate", "reopen"])
    key = fields((await agent.get(f"/cases/{name}")).text)["key"]
    for kind, form in (
        ("answer-question", {"answer": "Rue 3"}),
        ("supplement", {"addition": "Encore"}),
        ("rate", {"score": "5"}),
        ("reopen", {"reason": "Non"}),
    ):
        for _ in range(2):
            sent = await agent.post(f"/cases/{name}/{kind}", data=form | {"key": f"{key}{kind}"})
            assert sent.status_code == 303
        assert sent.headers["location"].startswith(f"/cases/{name}?asked={kind}&id=r")
    assert "Le dossier est rouvert." in (await agent.get(sent.headers["location"])).text
    confirmed = await agent.get(f"/cases/{name}/withdraw")
    assert "ne peut pas reprendre" in confirmed.text
    await agent.post(f"/cases/{name}/withdraw", data=fields(confirmed.text))
    assert services.asked == [
        {"kind": "answer-question", "text": "Rue 3", "by": "agent"},
        {"kind": "supplement", "text": "Encore", "by": "agent"},
        {"kind": "rate", "score": 5, "by": "agent"},
        {"kind": "reopen", "text": "Non", "by": "agent"},
        {"kind": "withdraw", "by": "agent"},
    ]


async def test_what_is_missing_forbidden_or_too_early_is_said(
    agent: httpx.AsyncClient, services: Any, no_waiting: Any
) -> None:
    name, _ = services.case(state="answered")
    assert (await agent.post(f"/cases/{name}/reopen", data={})).status_code == 422
    assert (await agent.post(f"/cases/{name}/rate", data={"score": "7"})).status_code == 422
    long = await agent.post(f"/cases/{name}/reopen", data={"reason": "x" * 10_001})
    assert (long.status_code, 'href="#reason"' in long.text) == (422, True)
    refused = await agent.post(f"/cases/{name}/supplement", data={"addition": "Encore"})
    assert (refused.status_code, "ne le permet pas" in refused.text) == (409, True)
    assert (await agent.get(f"/cases/{name}/withdraw")).headers["location"] == f"/cases/{name}"
    services.decide = False
    sent = await agent.post(f"/cases/{name}/rate", data={"score": "2"})
    assert "Voir où cela en est" in (await agent.get(sent.headers["location"])).text


async def test_tracking_away_is_said_and_the_callers_words_are_kept(
    agent: httpx.AsyncClient, services: Any, no_waiting: Any
) -> None:
    name, _ = services.case()
    services.away = {"tracking"}
    assert (await agent.get(f"/cases/{name}")).status_code == 503
    kept = await agent.post(f"/cases/{name}/supplement", data={"addition": "Encore éteint", "key": "k"})
    assert (kept.status_code, "Encore éteint</textarea>" in kept.text) == (503, True)


async def test_a_token_that_has_ended_leads_to_sign_in_and_back(agent: httpx.AsyncClient, services: Any) -> None:
    name, _ = services.case()
    services.token_status = 401
    ended = await agent.get(f"/cases/{name}")
    assert ended.headers["location"] == f"/login?next=%2Fcases%2F{name}"
    services.token_status = 403
    refused = await agent.get("/cases", params={"telephone": "0612345678"})
    assert (refused.status_code, "<html" in refused.text) == (403, True)


async def test_no_personal_data_is_logged(
    agent: httpx.AsyncClient, services: Any, filled: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await agent.post("/file", data=filled)
    name, code = next(iter(services.codes.items()))
    await agent.get("/cases", params={"telephone": "0612345678"})
    await agent.get(f"/cases/{name}")
    written = capsys.readouterr()
    assert "request" in written.out
    for personal in (name, code, "Hassan", "612345678", "lampe"):
        assert personal not in written.out + written.err
