"""Filing for a caller, and the script that is read aloud afterwards."""

import re
from html import unescape
from typing import Any

import httpx
import pytest
from chikaya_callcenter.aloud import SPELLED, letters
from chikaya_contracts import access


async def test_nobody_but_an_agent_sees_any_page(console: Any, services: Any, filled: Any) -> None:
    name, _ = services.case()
    pages = ("/", "/file", "/filed", "/cases?telephone=0612345678", f"/cases/{name}", f"/cases/{name}/withdraw")
    async with console.browser(sub=None) as stranger:
        for path in pages:
            answer = await stranger.get(path)
            assert (answer.status_code, answer.headers["location"][:7]) == (303, "/login?")
        for path in ("/file", "/file/check", "/file/edit", f"/cases/{name}/withdraw"):
            assert (await stranger.post(path, data=filled)).status_code == 303
    async with console.browser(sub="triage@chikaya.local") as officer:
        for path in pages:
            assert (await officer.get(path)).status_code == 403
    assert services.filed == []


async def test_a_complaint_is_filed_and_its_numbers_are_read_aloud(
    agent: httpx.AsyncClient, services: Any, filled: Any, fields: Any
) -> None:
    form = await agent.get("/file", params={"phone": "0612345678"})
    assert 'value="0612345678"' in form.text
    assert "à lire" in form.text.lower()
    checked = await agent.post("/file/check", data=filled | {"key": fields(form.text)["key"]})
    assert checked.status_code == 200
    assert "Hassan Benali" in checked.text
    for _ in range(2):
        sent = await agent.post("/file", data=fields(checked.text))
        assert (sent.status_code, sent.headers["location"]) == (303, "/filed")
    (submission,) = services.filed
    assert (submission.contact.name, submission.language) == ("Hassan Benali", "ar")
    assert submission.place.commune == "04.421.01.0"
    page = unescape((await agent.get("/filed")).text).replace("\u00a0", " ")
    name, code = next(iter(services.codes.items()))
    spoken = f"{name[:4]} {name[4:8]} {name[8:12]} {name[12:]}"
    assert page.count(spoken) == 3
    assert code in page
    assert " – ".join(" ".join(group) for group in code.split("-")) in page
    assert "mardi 17 mars 2026" in page
    assert "الثلاثاء، 17 مارس 2026" in page
    assert page.index('class="aloud" lang="ar" dir="rtl"') < page.index('class="aloud" lang="fr" dir="ltr"')


async def test_what_was_filed_is_read_by_who_filed_it_only(
    console: Any, agent: httpx.AsyncClient, filled: Any, services: Any, days: Any
) -> None:
    await agent.post("/file", data=filled)
    assert (await agent.get("/filed")).status_code == 200
    console.now = days(1)
    assert (await agent.get("/filed")).headers["location"] == "/"


@pytest.mark.parametrize("language", ["fr", "ar"])
async def test_mistakes_are_told_in_the_agents_language(console: Any, language: str) -> None:
    async with console.browser(language) as browser:
        wrong = await browser.post("/file/check", data={"nature": "complaint", "name": "<b>Ali"})
    said = {"fr": "Demandez l'accord de l'appelant.", "ar": "اطلبوا موافقة المتصل."}[language]
    assert wrong.status_code == 422
    assert unescape(wrong.text).count(said) == 2
    for link in re.findall(r'<a href="#([a-z]+)">', wrong.text):
        assert f'id="{link}"' in wrong.text
    assert "&lt;b&gt;Ali" in wrong.text


async def test_several_communes_are_asked_about(
    agent: httpx.AsyncClient, services: Any, filled: Any, fields: Any
) -> None:
    asked = await agent.post("/file/check", data=filled | {"commune": "Oulad Said"})
    assert "(Settat)" in asked.text
    form = filled | fields(asked.text) | {"commune": "Oulad Said", "commune_code": "words"}
    checked = await agent.post("/file/check", data=form)
    await agent.post("/file", data=fields(checked.text))
    assert (services.filed[0].place.commune, services.filed[0].place.text) == (None, "Oulad Said")


async def test_intake_away_loses_nothing_and_another_text_asks_first(
    agent: httpx.AsyncClient, services: Any, filled: Any, fields: Any, no_waiting: Any
) -> None:
    services.away = {"intake", "routing"}
    away = await agent.post("/file", data=filled | {"key": "one-and-the-same"})
    assert (away.status_code, "Retry-After" in away.headers) == (503, True)
    carried = fields(away.text)
    services.away = set()
    assert (await agent.post("/file", data=carried)).status_code == 303
    again = await agent.post("/file", data=carried | {"text": "Autre chose encore"})
    assert again.status_code == 409
    assert fields(again.text)["key"] != "one-and-the-same"
    assert len(services.filed) == 1


async def test_another_sites_form_is_refused(agent: httpx.AsyncClient, services: Any, filled: Any) -> None:
    answer = await agent.post("/file", data=filled, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert services.filed == []


def test_every_letter_of_a_code_has_its_word() -> None:
    assert set(SPELLED) == {character for character in access.ALPHABET if character.isalpha()}
    assert letters("AB-1") == [("A", "Anatole"), ("B", "Berthe"), ("1", "")]
