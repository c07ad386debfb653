"""Following: opening a case, reading it, asking something of it, leaving it."""

from html import unescape
from typing import Any

import httpx
import pytest
from chikaya_contracts import states
from chikaya_portal.following import progress

ADMINISTRATION = {"slug": "onee", "name_fr": "Office de l'eau", "name_ar": "مكتب الماء"}
AT = "2026-03-04T10:00:00+00:00"


async def opened(browser: httpx.AsyncClient, name: str, code: str) -> httpx.Response:
    answer = await browser.post("/follow", data={"reference": name, "code": code})
    assert (answer.status_code, answer.headers["location"]) == (303, "/case")
    return await browser.get("/case")


@pytest.mark.parametrize("language", ["fr", "ar"])
async def test_a_case_opens_with_what_people_type(site: Any, services: Any, language: str) -> None:
    name, code = services.case(
        state="acknowledged",
        administration=ADMINISTRATION,
        history=[
            {"sequence": 1, "type": "received", "at": AT, "state": "received"},
            {"sequence": 2, "type": "routed", "at": AT, "state": "routed", "administration": ADMINISTRATION},
            {"sequence": 3, "type": "an-event-of-tomorrow", "at": AT, "state": "acknowledged"},
        ],
    )
    arabic_digits = name.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))
    async with site.browser(language) as browser:
        page = await opened(browser, f" {arabic_digits[:4]}-{arabic_digits[4:]} ", code.lower().replace("-", " "))
    state = states.states()["acknowledged"]
    shown = {"fr": (state.fr, state.told_fr, "Office de l'eau"), "ar": (state.ar, state.told_ar, "مكتب الماء")}
    for words in shown[language]:
        assert words in unescape(page.text)
    assert 'aria-current="step"' in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script>" not in page.text
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        ("", "", "Écrivez votre référence."),
        ("2026", "ABCD-EFGH-JKMN", "Une référence a 14 chiffres."),
        ("2026 0000 0001 00", "ABCD-EFGH-JKMN", "Un chiffre de cette référence est faux"),
        ("2026 0000 0001 00", "ABCD", "Un code d&#39;accès a 12 lettres"),
    ],
)
async def test_what_is_mistyped_is_told_before_anybody_is_asked(
    browser: httpx.AsyncClient, services: Any, typed: str, code: str, said: str
) -> None:
    services.away = {"tracking"}
    answer = await browser.post("/follow", data={"reference": typed, "code": code})
    assert answer.status_code == 422
    assert said in answer.text
    assert f'value="{typed}"' in answer.text


async def test_a_wrong_code_and_an_unknown_reference_read_the_same(browser: httpx.AsyncClient, services: Any) -> None:
    name, _ = services.case()
    other = services.case(2)[0]
    del services.cases[other]
    wrong = await browser.post("/follow", data={"reference": name, "code": "ABCD-EFGH-JKMN"})
    unknown = await browser.post("/follow", data={"reference": other, "code": "ABCD-EFGH-JKMN"})
    assert (wrong.status_code, unknown.status_code) == (404, 404)
    assert wrong.text.replace(name, "") == unknown.text.replace(other, "")
    assert "attendez quelques minutes" in wrong.text


async def test_guessing_is_stopped_and_the_page_says_for_how_long(make_site: Any, services: Any) -> None:
    name, _ = services.case()
    services.limited = 900
    async with make_site(openings_per_10_minutes=1).browser() as browser:
        limited = await browser.post("/follow", data={"reference": name, "code": "ABCD-EFGH-JKMN"})
        assert (limited.status_code, limited.headers["retry-after"]) == (429, "900")
        assert "Réessayez dans 15 min" in limited.text
        services.limited = 0
        ours = await browser.post("/follow", data={"reference": name, "code": "ABCD-EFGH-JKMN"})
        assert ours.status_code == 429
        assert "Réessayez dans 10 min" in ours.text


async def test_a_link_fills_in_the_reference_and_nothing_else(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/follow", params={"reference": '2026"><b>'})
    assert 'value="2026&#34;&gt;&lt;b&gt;"' in page.text


async def test_a_session_ends_by_itself_by_leaving_and_by_another_hand(
    site: Any, browser: httpx.AsyncClient, services: Any, days: Any
) -> None:
    page = await opened(browser, *services.case())
    cookie = page.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Max-Age=1800"} <= set(cookie.split("; "))
    left = await browser.post("/leave")
    assert left.headers["location"] == "/follow?left=1"
    assert (await browser.get("/case")).headers["location"] == "/follow?ended=1"
    await opened(browser, *services.case())
    site.now = days(1)
    for path in ("/case", "/case/withdraw"):
        assert (await browser.get(path)).headers["location"] == "/follow?ended=1"
    assert (await browser.post("/case/withdraw")).headers["location"] == "/follow?ended=1"
    services.cases.clear()


async def test_a_question_is_answered_and_the_outcome_shown(
    browser: httpx.AsyncClient, services: Any, fields: Any, no_waiting: Any
) -> None:
    asked = {"asked_by": "administration", "at": AT, "text": "Quel est le numéro <du> compteur ?"}
    name, code = services.case(
        state="waiting_for_citizen", question=asked, allowed=["answer-question", "supplement", "withdraw"]
    )
    page = await opened(browser, name, code)
    assert "Quel est le numéro &lt;du&gt; compteur ?" in page.text
    empty = await browser.post("/case/answer-question", data={"answer": " "})
    assert empty.status_code == 422
    assert 'href="#answer"' in empty.text
    form = {"answer": "Le 4711.\r\nMerci.", "key": fields(page.text)["key"]}
    for _ in range(2):
        sent = await browser.post("/case/answer-question", data=form)
        assert sent.headers["location"] == "/case?asked=answer-question&id=r1"
    assert services.asked == [{"kind": "answer-question", "text": "Le 4711.\nMerci.", "by": "citizen"}]
    assert "Votre réponse est transmise" in (await browser.get(sent.headers["location"])).text


async def test_what_is_not_decided_within_three_seconds_is_said_to_be_on_its_way(
    browser: httpx.AsyncClient, services: Any, no_waiting: Any
) -> None:
    services.decide = False
    await opened(browser, *services.case())
    sent = await browser.post("/case/supplement", data={"addition": "Encore éteint."})
    assert sum(no_waiting) == 3.0
    page = await browser.get(sent.headers["location"])
    assert "l&#39;enregistrement se termine" in page.text
    services.decide = True
    assert "ajoutée au dossier" in (await browser.get(sent.headers["location"])).text


async def test_an_answer_is_rated_or_objected_to(browser: httpx.AsyncClient, services: Any) -> None:
    name, code = services.case(state="answered", answer="C'est réparé.", answered_at=AT, administration=ADMINISTRATION)
    page = await opened(browser, name, code)
    assert "C&#39;est réparé." in page.text
    assert (await browser.post("/case/rate", data={"comment": "Bien"})).status_code == 422
    assert (await browser.post("/case/rate", data={"score": "9"})).status_code == 422
    await browser.post("/case/rate", data={"score": "4", "comment": "Bien"})
    await browser.post("/case/reopen", data={"reason": "Toujours éteint"})
    assert services.asked == [
        {"kind": "rate", "score": 4, "text": "Bien", "by": "citizen"},
        {"kind": "reopen", "text": "Toujours éteint", "by": "citizen"},
    ]


async def test_withdrawing_is_asked_twice(browser: httpx.AsyncClient, services: Any, fields: Any) -> None:
    await opened(browser, *services.case())
    page = await browser.get("/case/withdraw")
    assert "ne peut pas reprendre" in page.text
    await browser.post("/case/withdraw", data=fields(page.text))
    assert services.asked == [{"kind": "withdraw", "by": "citizen"}]
    services.case(state="withdrawn")
    assert (await browser.get("/case/withdraw")).headers["location"] == "/case"


async def test_what_the_state_forbids_is_said_and_the_words_are_kept(browser: httpx.AsyncClient, services: Any) -> None:
    name, code = services.case(state="answered")
    await opened(browser, name, code)
    services.cases[name]["allowed"] = ["reopen"]
    refused = await browser.post("/case/rate", data={"score": "2"})
    assert refused.status_code == 409
    assert "L&#39;état du dossier ne le permet pas." in refused.text
    long = await browser.post("/case/reopen", data={"reason": "x" * 10_001})
    assert long.status_code == 422
    assert 'href="#reason"' in long.text
    assert '<details class="panel" open>' in long.text


async def test_why_it_is_rejected_and_where_to_go(browser: httpx.AsyncClient, services: Any) -> None:
    line = {"sequence": 2, "type": "rejected", "at": AT, "state": "rejected", "reason": "court"}
    page = await opened(browser, *services.case(state="rejected", rejection="court", history=[line]))
    assert "devant un tribunal" in page.text
    assert "un avocat" in page.text
    assert "Médiateur" in page.text


async def test_a_late_answer_is_called_late(site: Any, browser: httpx.AsyncClient, services: Any, days: Any) -> None:
    name, code = services.case(state="in_progress", administration=ADMINISTRATION)
    assert "délai de réponse est passé" not in (await opened(browser, name, code)).text
    site.now = days(70)
    assert "délai de réponse est passé" in (await opened(browser, name, code)).text


async def test_tracking_away_is_said_and_what_was_written_is_kept(
    browser: httpx.AsyncClient, services: Any, fields: Any, no_waiting: Any
) -> None:
    name, code = services.case()
    await opened(browser, name, code)
    services.away = {"tracking"}
    for answer in (
        await browser.get("/case"),
        await browser.post("/follow", data={"reference": name, "code": code}),
    ):
        assert answer.status_code == 503
        assert "momentanément indisponible" in answer.text
        assert "Retry-After" in answer.headers
    kept = await browser.post("/case/rate", data={"comment": "Très <long>", "score": "2", "key": "k"})
    assert (kept.status_code, "Retry-After" in kept.headers) == (503, True)
    assert "Très &lt;long&gt;</textarea>" in kept.text
    assert fields(kept.text) == {"key": "k", "score": "2"}
    assert 'action="/case/rate"' in kept.text
    assert sum(no_waiting) < 10


async def test_the_sessions_forms_come_from_this_site_only(browser: httpx.AsyncClient, services: Any) -> None:
    await opened(browser, *services.case())
    for origin in ("https://evil.example", "null", ""):
        for path in ("/case/withdraw", "/case/supplement", "/leave"):
            answer = await browser.post(path, data={"addition": "x"}, headers={"Origin": origin})
            assert answer.status_code == 403
    assert services.asked == []


async def test_an_unknown_request_is_no_page(browser: httpx.AsyncClient) -> None:
    assert (await browser.post("/case/erase")).status_code == 422


async def test_no_personal_data_is_logged(
    browser: httpx.AsyncClient, services: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    name, code = services.case()
    await opened(browser, name, code)
    await browser.post("/case/supplement", data={"addition": "Je suis Salma"})
    await browser.post("/follow", data={"reference": name, "code": "ABCD-EFGH-JKMN"})
    written = capsys.readouterr()
    assert "request" in written.out
    for personal in (name, code, "Salma", "ABCD"):
        assert personal not in written.out + written.err


@pytest.mark.parametrize("state", states.states())
def test_every_state_has_its_place_on_the_line(state: str) -> None:
    steps = progress(state)
    assert [step.place for step in steps].count("now") == 1
    places = [step.place for step in steps]
    assert places == sorted(places, key=["done", "now", "ahead"].index)


def test_a_question_in_triage_is_asked_before_the_relay_and_an_unknown_state_has_no_line() -> None:
    assert progress("waiting_for_citizen", "triage")[0].place == "now"
    assert progress("waiting_for_citizen", "administration")[2].place == "now"
    assert progress("a-state-of-tomorrow") == []
