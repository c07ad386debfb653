"""Triage as pages, in French and Arabic, with no script."""

import re
from typing import Any

import pytest

SALMA, NADIA = "salma;triage", "nadia;coordinator"
TEXT = "triage unsure : panne de courant <b>depuis</b> un mois"


async def test_no_text_is_missing_unused_or_untranslated(parts: Any) -> None:
    assert not any(parts.pages.orphans().values()), parts.pages.orphans()


async def test_an_empty_queue_says_so_in_both_languages(parts: Any) -> None:
    async with parts.client(SALMA, html=True) as http:
        assert "Aucune réclamation" in (await http.get("/triage")).text
        arabic = (await http.get("/triage?lang=ar")).text
        assert 'dir="rtl"' in arabic
        assert "لا توجد شكاية" in arabic
        assert (await http.get("/")).headers["location"] == "/triage"


async def test_the_queue_has_pages_and_its_count(parts: Any) -> None:
    await parts.submit(*["triage unsure"] * 27)
    async with parts.client(SALMA, html=True) as http:
        first = (await http.get("/triage")).text
        assert "27 en attente" in first
        link = re.search(r'rel="next" href="([^"]+)"', first)
        assert link
        second = (await http.get(link[1].replace("&amp;", "&"))).text
        assert (first.count("<td><a href"), second.count("<td><a href")) == (25, 2)
        assert "Revenir au début" in second


async def test_a_long_queue_is_not_counted_to_its_end(parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chikaya_routing.triage.MOST_COUNTED", 3)
    await parts.submit(*["triage unsure"] * 4)
    async with parts.client(SALMA, html=True) as http:
        assert "Plus de 3 en attente" in (await http.get("/triage")).text
    async with parts.client(SALMA) as http:
        found = (await http.get("/v1/triage")).json()
        assert (found["count"], found["more"]) == (3, True)


async def test_an_item_shows_what_weighed_and_escapes_what_was_written(parts: Any) -> None:
    (event,) = await parts.submit(TEXT, place={"text": "Rabat"})
    async with parts.client(SALMA, html=True) as http:
        html = (await http.get(f"/triage/{event.data.complaint_id}")).text
    assert "<mark>panne</mark> de <mark>courant</mark> &lt;b&gt;depuis&lt;/b&gt;" in html
    assert "Office onee" in html
    assert "affaires onee" in html
    assert "60 %" in html
    assert "Rabat" in html
    assert "+212600000090" in html
    assert "<script" not in html


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"action": "route", "administration": "onee"}, "Office onee"),
        ({"action": "route", "administration": "Office cnss"}, "Office cnss"),
        ({"action": "route", "administration": "مكتب cnss", "note": "Voir la pièce."}, "Office cnss"),
        ({"action": "route", "administration": "commune-04-421-01-0"}, "Commune de Rabat"),
        ({"action": "reject", "reason": "court"}, "Affaire devant la justice"),
        ({"action": "ask", "question": "place"}, "Où cela se passe-t-il"),
    ],
)
async def test_a_settlement_goes_back_to_the_queue_where_it_can_be_undone(
    parts: Any, form: dict[str, str], said: str
) -> None:
    (event,) = await parts.submit(TEXT)
    path = f"/triage/{event.data.complaint_id}"
    async with parts.client(SALMA, html=True) as http:
        done = await http.post(f"{path}/decision", data=form)
        assert (done.status_code, done.headers["location"]) == (303, f"/triage?settled={event.data.complaint_id}")
        queue = (await http.get(done.headers["location"])).text
        assert said in queue
        assert "Annuler cette décision" in queue
        assert "Une décision est prise" in (await http.get(path)).text
        undone = await http.post(f"{path}/undo")
        assert undone.headers["location"] == path
        assert "Une décision est prise" not in (await http.get(path)).text


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"action": "route", "administration": "n'importe"}, "Choisissez une administration de la liste."),
        ({"action": "reject"}, "Choisissez un motif."),
        ({"action": "ask", "question": "age"}, "Choisissez une question."),
        ({"action": "close"}, "Choisissez une décision."),
        ({"action": "reject", "reason": "court", "note": "x" * 2001}, "La note est trop longue"),
    ],
)
async def test_what_is_wrong_is_said_beside_its_field(parts: Any, form: dict[str, str], said: str) -> None:
    (event,) = await parts.submit(TEXT)
    async with parts.client(SALMA, html=True) as http:
        answer = await http.post(f"/triage/{event.data.complaint_id}/decision", data=form)
    assert answer.status_code == 422
    assert said in answer.text


async def test_what_another_holds_is_read_and_not_decided(parts: Any) -> None:
    (event,) = await parts.submit(TEXT)
    path = f"/triage/{event.data.complaint_id}"
    async with parts.client(SALMA, html=True) as salma, parts.client(NADIA, html=True) as nadia:
        await salma.get(path)
        seen = (await nadia.get(path)).text
        assert "Un autre agent" in seen
        assert 'value="reject"' not in seen
        assert "Ouverte par un autre agent" in (await nadia.get("/triage")).text
        refused = await nadia.post(f"{path}/decision", data={"action": "reject", "reason": "court"})
        assert refused.status_code == 409
        assert (await salma.post(f"{path}/leave")).headers["location"] == "/triage"
        assert 'value="reject"' in (await nadia.get(path)).text


async def test_a_commune_is_searched_by_name(parts: Any) -> None:
    (event,) = await parts.submit(TEXT)
    async with parts.client(SALMA, html=True) as http:
        found = (await http.get(f"/triage/{event.data.complaint_id}?commune=rabat")).text
        assert 'value="commune-04-421-01-0"' in found
        assert "Aucune commune" in (await http.get(f"/triage/{event.data.complaint_id}?commune=xkwv")).text


async def test_the_wish_of_who_gave_it_back_is_shown(parts: Any, make: Any) -> None:
    (event,) = await parts.submit("routed cnss panne")
    kept = parts.store.kept[event.data.complaint_id]
    from chikaya_contracts.messages.routing import ComplaintTriaged
    from chikaya_routing.domain.routing import with_decision

    about = {"complaint_id": event.data.complaint_id, "decision": 2, "decided_at": make.NOON, "by": "transfer"}
    triaged = ComplaintTriaged.model_validate({**about, "reason": "transfer"})
    given_back = with_decision(kept.whole(), triaged, "c2", None, make.NOON)
    object.__setattr__(given_back, "proposed", "habous")
    await parts.store.replace([(given_back, 1)])
    async with parts.client(SALMA, html=True) as http:
        html = (await http.get(f"/triage/{event.data.complaint_id}")).text
    assert "Office cnss ne s&#39;estime pas compétente." in html
    assert "Elle propose : Office habous." in html


async def test_an_unknown_complaint_is_a_page_that_says_so(parts: Any) -> None:
    async with parts.client(SALMA, html=True) as http:
        answer = await http.get("/triage/nobody")
    assert answer.status_code == 404
    assert "<html" in answer.text
