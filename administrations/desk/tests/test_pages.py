"""The pages and the API on fakes: what officers see, what they may do, and what happens when something is away."""

import re
from html import unescape
from typing import Any

import httpx
import pytest
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event
from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.intake import Attachment
from chikaya_desk.adapters.kafka import Outbox
from chikaya_desk.adapters.memory import MemoryAdministrations, MemoryDossiers
from chikaya_desk.api import Api
from chikaya_desk.catalogue import Catalogue
from chikaya_desk.deciding import Deciding
from chikaya_desk.officers import ROLES, officer_of
from chikaya_desk.pages import DeskPages, days_left
from chikaya_servicekit import http
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.http import Problem
from chikaya_servicekit.pages import Pages
from chikaya_servicekit.staff import Person
from chikaya_servicekit.testing import RecordingPublisher
from fastapi import FastAPI, Request

PEOPLE = {
    "habous": Person("officer.habous@chikaya.local", "Fatima Zahra Idrissi", "", ("officer",), "habous", ""),
    "chief": Person("supervisor.habous@chikaya.local", "Abdellah Chraibi", "", ("supervisor",), "habous", ""),
    "oncf": Person("officer.oncf@chikaya.local", "Hamza Berrada", "", ("officer",), "oncf", ""),
    "nowhere": Person("officer@chikaya.local", "Sans administration", "", ("officer",), None, ""),
    "triage": Person("triage@chikaya.local", "Salma Bennani", "", ("triage",), None, ""),
}


async def letting_in(request: Request) -> Person:
    """Stands for `Staff.require`: the token names the person."""
    person = PEOPLE.get(request.headers.get("authorization", "").removeprefix("Bearer "))
    if person is None:
        raise Problem(401, "Sign in")
    if not set(ROLES) & set(person.roles):
        raise Problem(403, "Not you")
    return person


class Away(Exception):
    """Stands for a driver's error."""


class Site:
    """The desk's HTTP on fakes."""

    def __init__(self, make: Any) -> None:
        self.make, self.now = make, make.day(3)
        self.dossiers, self.publisher = MemoryDossiers(), RecordingPublisher()
        self.catalogue = Catalogue(MemoryAdministrations())
        deciding = Deciding(self.dossiers, self.catalogue, Outbox(self.publisher), self.clock)
        officer, self.pages, self.app = officer_of(letting_in), Pages("chikaya_desk"), FastAPI()
        http.install(self.app, "desk", (Away,))
        self.pages.install(self.app)
        self.app.include_router(Api(self.dossiers, deciding, self.clock, officer).router())
        self.app.include_router(
            DeskPages(self.pages, self.dossiers, self.catalogue, deciding, self.clock, officer, (Away,)).router()
        )
        self.where = f"/dossiers/{make.complaint_id}"

    def clock(self) -> Any:
        return self.now

    def client(self, who: str = "habous", lang: str = "fr", accept: str = "text/html") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {who}", "Accept-Language": lang, "Accept": accept}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://desk", headers=headers)

    async def given(self, *events: Any) -> None:
        rows = [
            self.make.listed("habous", "Ministère des Habous"), self.make.listed("oncf", "ONCF", "establishment"),
            self.make.listed("commune-04-421-01-0", "Commune de Rabat", "commune"),
        ]  # fmt: skip
        await self.catalogue.apply([Event(new_id(), "/routing", self.now, row, topics.CATALOGUE.name) for row in rows])
        await self.dossiers.receive(events or [self.make.forwarded()])

    async def state(self) -> str:
        return (await self.dossiers.find(self.make.key)).standing.state


@pytest.fixture
def site(make: Any) -> Site:
    return Site(make)


def hidden(page: str, name: str) -> str:
    """The value of a page's hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return unescape(found[1])


def texts_are_complete() -> dict[str, set[str]]:
    return Pages("chikaya_desk").orphans()


def test_no_text_is_missing_unused_or_untranslated() -> None:
    assert texts_are_complete() == {"unknown": set(), "unused": set(), "untranslated": set()}


def test_every_text_that_a_template_builds_is_there() -> None:
    from typing import get_args

    from chikaya_contracts.messages.administration import DossierFollowUp
    from chikaya_contracts.submission import Nature
    from chikaya_desk.domain.dossier import ACTIONS, State

    keys = set(Pages("chikaya_desk").texts)
    kinds = get_args(DossierFollowUp.model_fields["kind"].annotation)
    wanted = {f"{prefix}.{action}" for action in ACTIONS for prefix in ("action", "did", "unsent", "refused")}
    wanted |= {f"registering.{action}" for action in ACTIONS}
    wanted |= {f"{prefix}.{action}" for action in ("ask", "answer", "transfer") for prefix in ("form", "label", "hint")}
    wanted |= {f"state.{state}" for state in get_args(State)} | {f"nature.{nature}" for nature in get_args(Nature)}
    wanted |= {f"told.{kind}" for kind in (*kinds, "forwarded")}
    assert wanted <= keys


# -- the list


async def test_the_list_shows_what_is_due_and_marks_what_is_late(site: Any, make: Any) -> None:
    late, later = make.another(2), make.another(3)
    await site.given(late.forwarded(answer_due=make.day(2)), later.forwarded(answer_due=make.day(30)))
    async with site.client() as browser:
        page = (await browser.get("/")).text
    assert page.index(late.complaint_id) < page.index(later.complaint_id)
    assert page.count('class="state late"') == 2  # the badge, and the days
    assert "En retard (jours : 1)" in page
    assert "jours restants : 27" in page
    assert "Ministère des Habous" in page
    assert "Commune de Rabat · <bdi>Agdal</bdi>" in page
    assert "Salma Idrissi" not in page


async def test_lists_are_paged_and_filtered(site: Any, make: Any) -> None:
    many = [make.another(n) for n in range(1, 46)]
    await site.given(*(one.forwarded(answer_due=make.day(60 + n)) for n, one in enumerate(many)))
    seen: list[str] = []
    async with site.client() as browser:
        where = "/"
        for size in (20, 20, 5):
            page = (await browser.get(where)).text
            found = re.findall(r"/dossiers/([0-9a-f-]{36})", page)
            assert len(found) == size
            seen += found
            following = re.search(r'second" href="(/\?show=todo&amp;after=[^"]+)"', page)
            where = unescape(following[1]) if following else ""
        assert seen == [one.complaint_id for one in many]
        assert where == ""
        assert "Aucun dossier traité" in (await browser.get("/?show=done")).text
        assert (await browser.get("/?after=nonsense")).status_code == 422


async def test_a_reference_leads_to_its_dossier(site: Any, make: Any) -> None:
    await site.given()
    grouped = " ".join(make.reference[i : i + 4] for i in range(0, 14, 4))
    async with site.client() as browser:
        found = await browser.get("/", params={"reference": f" {grouped} "})
        assert (found.status_code, found.headers["location"]) == (303, site.where)
        mistyped = await browser.get("/", params={"reference": make.reference[:-1] + "9"})
        assert mistyped.status_code == 404
        assert "vérifiez chaque chiffre" in mistyped.text
        other = await browser.get("/", params={"reference": make.another(7).reference})
        assert "pas de dossier portant ce numéro" in unescape(other.text)
    async with site.client("oncf") as stranger:
        assert (await stranger.get("/", params={"reference": make.reference})).status_code == 404


# -- the dossier


async def test_a_dossier_shows_all_that_came_with_it(site: Any, make: Any) -> None:
    files = (
        Attachment(
            id="a", filename="<toit>.jpg", media_type="image/jpeg", size=204_800, sha256="0", url="https://i/a?s=1&e=2"
        ),
        Attachment(id="b", filename="plan.pdf", media_type="application/pdf", size=10, sha256="0"),
    )
    text = "<script>alert(1)</script> السقف يقطر"
    await site.given(
        make.forwarded(text=text, note="Voir l'imam.", attachments=files), make.told("supplemented", 4, text="Vite !")
    )
    async with site.client() as browser:
        page = (await browser.get(site.where)).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; السقف يقطر" in page
    assert '<a href="https://i/a?s=1&amp;e=2" rel="noreferrer"><bdi>&lt;toit&gt;.jpg</bdi></a>' in page
    assert "200 Ko" in page
    assert "<bdi>plan.pdf</bdi>" in page
    assert "Vite !" in page
    assert "imam." in page
    assert 'href="tel:+212612345678"' in page
    assert 'href="mailto:salma@example.org"' in page
    assert "1 mai 2026" in page


async def test_another_administrations_dossier_is_not_there(site: Any, make: Any) -> None:
    await site.given()
    async with site.client("oncf") as stranger:
        for where in (site.where, f"{site.where}/answer", f"/v1{site.where}"):
            assert (await stranger.get(where)).status_code == 404
        sent = await stranger.post(f"{site.where}/start", data={"form": "f"})
        asked = await stranger.post(f"/v1{site.where}/decisions", json={"action": "start"})
        assert (sent.status_code, asked.status_code) == (404, 404)
        assert make.complaint_id not in (await stranger.get("/?show=all")).text
    assert site.publisher.events == []


@pytest.mark.parametrize(("who", "status"), [("chief", 200), ("triage", 403), ("nowhere", 403), ("nobody", 401)])
async def test_who_is_let_in(site: Any, who: str, status: int) -> None:
    await site.given()
    async with site.client(who) as browser:
        for where in ("/", site.where, "/v1/dossiers", f"/v1{site.where}"):
            assert (await browser.get(where)).status_code == status


async def test_the_pages_are_in_arabic_from_right_to_left(site: Any, make: Any) -> None:
    await site.given()
    async with site.client(lang="ar") as browser:
        page = (await browser.get(site.where)).text
    assert 'lang="ar" dir="rtl"' in page
    assert "ماذا تريدون أن تفعلوا؟" in page
    assert "المواطن" in page


# -- deciding


async def test_an_answer_is_read_again_before_it_is_sent(site: Any, make: Any) -> None:
    await site.given(make.forwarded(notice_language="ar"))
    async with site.client() as browser:
        form = hidden((await browser.get(f"{site.where}/answer")).text, "form")
        typed = {"form": form, "text": "تم إصلاح السقف.\r\nشكرا"}
        confirm = await browser.post(f"{site.where}/answer", data={**typed, "step": "preview"})
        assert confirm.status_code == 200
        assert '<div class="panel" lang="ar" dir="rtl">' in confirm.text
        assert "جواب: Ministère des Habous بالعربية" in confirm.text
        assert site.publisher.events == []
        edit = await browser.post(f"{site.where}/answer", data={**typed, "step": "edit"})
        assert "تم إصلاح السقف.\nشكرا</textarea>" in edit.text
        assert hidden(edit.text, "form") == form
        sent = await browser.post(f"{site.where}/answer", data={**typed, "step": "send"})
        assert (sent.status_code, sent.headers["location"]) == (303, site.where)
        again = await browser.post(f"{site.where}/answer", data={**typed, "step": "send"})
        assert again.status_code == 303
        page = (await browser.get(site.where)).text
    assert len(site.publisher.events) == 1
    assert "Réponse envoyée : elle est en cours d&#39;enregistrement." in page
    assert "Fatima Zahra Idrissi" in page
    assert "Aucune action" in page


async def test_what_is_being_registered_is_so_for_two_minutes(site: Any, make: Any) -> None:
    await site.given()
    async with site.client() as browser:
        form = hidden((await browser.get(site.where)).text, "form")
        await browser.post(f"{site.where}/acknowledge", data={"form": form})
        assert "cours d&#39;enregistrement" in (await browser.get(site.where)).text
        site.now = make.day(4)
        page = (await browser.get(site.where)).text
    assert "cours d&#39;enregistrement" not in page
    assert "Réception accusée" in page


async def test_a_refused_answer_is_shown_with_its_reason_and_its_words_are_in_the_form(site: Any, make: Any) -> None:
    await site.given()
    async with site.client() as browser:
        form = hidden((await browser.get(f"{site.where}/answer")).text, "form")
        await browser.post(f"{site.where}/answer", data={"form": form, "text": "Réparé."})
        await site.dossiers.receive([make.refused("answered", 6)])
        page = (await browser.get(site.where)).text
        assert "Votre réponse n&#39;a pas été enregistrée." in page
        assert "l&#39;état de la réclamation" in page
        opened = (await browser.get(f"{site.where}/answer")).text
        assert "Réparé.</textarea>" in opened
        assert hidden(opened, "form") != form
        fresh = {"form": hidden(opened, "form"), "text": "Réparé."}
        assert (await browser.post(f"{site.where}/answer", data=fresh)).status_code == 303
    assert len({event.id for event in site.publisher.events}) == 2


async def test_while_kafka_is_away_the_words_stay_in_the_form(site: Any, make: Any) -> None:
    await site.given()
    site.publisher.fail = DependencyDown("away")
    async with site.client() as browser:
        form = hidden((await browser.get(f"{site.where}/ask")).text, "form")
        failed = await browser.post(f"{site.where}/ask", data={"form": form, "text": "Quelle rue ?"})
        assert (failed.status_code, failed.headers["retry-after"]) == (503, "5")
        assert "Quelle rue ?</textarea>" in failed.text
        assert hidden(failed.text, "form") == form
        page = (await browser.get(site.where)).text
        assert "L&#39;envoi de votre question n&#39;est pas confirmé." in page
        opened = (await browser.get(f"{site.where}/ask")).text
        assert (hidden(opened, "form"), "Quelle rue ?</textarea>" in opened) == (form, True)
        site.publisher.fail = None
        again = {name: hidden(page.split("unsent", 1)[-1], name) for name in ("form", "text", "proposed")}
        assert (await browser.post(f"{site.where}/ask", data=again)).status_code == 303
    assert [event.data.text for event in site.publisher.events] == ["Quelle rue ?"]
    assert await site.state() == "waiting_for_citizen"


async def test_while_the_database_is_away_the_words_stay_in_the_form_too(site: Any, monkeypatch: Any) -> None:
    await site.given()

    async def away(key: Any) -> Any:
        raise Away

    monkeypatch.setattr(site.dossiers, "find", away)
    async with site.client() as browser:
        failed = await browser.post(f"{site.where}/transfer", data={"form": "f", "text": "La commune."})
        assert failed.status_code == 503
        assert "La commune.</textarea>" in failed.text
        assert f'action="{site.where}/transfer"' in failed.text
        short = await browser.post(f"{site.where}/start", data={"form": "f"})
        assert short.status_code == 503


async def test_a_transfer_names_its_reason_and_proposes_from_the_catalogue(site: Any, make: Any) -> None:
    await site.given()
    async with site.client() as browser:
        opened = (await browser.get(f"{site.where}/transfer")).text
        assert '<optgroup label="Communes">' in opened
        assert '<option value="habous"' not in opened
        form = hidden(opened, "form")
        empty = await browser.post(f"{site.where}/transfer", data={"form": form, "proposed": "oncf", "text": "  "})
        assert empty.status_code == 422
        assert 'id="text-error"' in empty.text
        assert '<option value="oncf" selected>' in empty.text
        wrong = await browser.post(f"{site.where}/transfer", data={"form": form, "proposed": "nobody", "text": "Gare"})
        assert (wrong.status_code, 'id="proposed-error"' in wrong.text) == (422, True)
        right = await browser.post(f"{site.where}/transfer", data={"form": form, "proposed": "oncf", "text": "Gare"})
        assert right.status_code == 303
        page = (await browser.get(site.where)).text
    [event] = site.publisher.events
    assert (event.data.proposed, event.data.text) == ("oncf", "Gare")
    assert "Administration proposée : ONCF" in page


async def test_what_is_no_longer_possible_says_so_and_keeps_the_words(site: Any, make: Any) -> None:
    await site.given()
    async with site.client() as browser:
        form = hidden((await browser.get(f"{site.where}/answer")).text, "form")
        await site.dossiers.receive([make.told("withdrawn", 4)])
        late = await browser.post(f"{site.where}/answer", data={"form": form, "text": "Long travail."})
        assert late.status_code == 409
        assert "Long travail.</textarea>" in late.text
        assert "ne permet pas cette action" in late.text
        assert (await browser.post(f"{site.where}/start", data={"form": "g"})).status_code == 409
        assert (await browser.get(f"{site.where}/ask")).status_code == 409
    assert site.publisher.events == []


# -- the API


async def test_a_program_lists_reads_and_decides(site: Any, make: Any) -> None:
    many = [make.another(n) for n in range(1, 23)]
    await site.given(*(one.forwarded(answer_due=make.day(60 + n)) for n, one in enumerate(many)))
    async with site.client(accept="application/json") as program:
        first = (await program.get("/v1/dossiers")).json()
        assert [row["complaint_id"] for row in first["dossiers"]] == [one.complaint_id for one in many[:20]]
        rest = (await program.get("/v1/dossiers", params={"state": "todo", "after": first["next"]})).json()
        assert ([row["reference"] for row in rest["dossiers"]], rest["next"]) == (
            [one.reference for one in many[20:]], None,
        )  # fmt: skip
        shown = (await program.get(f"/v1{site.where}")).json()
        assert (shown["state"], shown["reference"]) == ("routed", make.reference)
        assert shown["allowed"] == ["acknowledge", "start", "ask", "answer", "transfer"]
        for action, state in (("acknowledge", "acknowledged"), ("start", "in_progress")):
            made = await program.post(f"/v1{site.where}/decisions", json={"action": action})
            assert (made.status_code, made.json()["state"]) == (202, state)
        assert made.json()["decision_id"] == site.publisher.events[-1].id
        answered = await program.post(f"/v1{site.where}/decisions", json={"action": "answer", "text": "Réparé."})
        assert (answered.json()["state"], answered.json()["status"]) == ("answered", "registering")
        refused = await program.post(f"/v1{site.where}/decisions", json={"action": "start"})
        assert (refused.status_code, "لا تسمح" in refused.json()["detail"]) == (409, True)
        history = (await program.get(f"/v1{site.where}")).json()["history"]
        assert [line["what"] for line in history] == ["forwarded", "acknowledge", "start", "answer"]


async def test_a_programs_repeat_is_the_same_decision(site: Any) -> None:
    await site.given()
    ask = {"json": {"action": "ask", "text": "Où ?"}, "headers": {"Idempotency-Key": "k"}}
    async with site.client(accept="application/json") as program:
        first, second = [await program.post(f"/v1{site.where}/decisions", **ask) for _ in range(2)]
        assert first.json() == second.json()
        other = ask | {"json": {"action": "ask", "text": "Quand ?"}}
        assert (await program.post(f"/v1{site.where}/decisions", **other)).status_code == 409
    assert len(site.publisher.events) == 1


async def test_a_programs_mistakes_name_their_field(site: Any) -> None:
    await site.given()
    async with site.client(accept="application/json") as program:
        for body, field in (
            ({"action": "answer"}, "text"), ({"action": "answer", "text": "a" * 20_001}, "text"),
            ({"action": "transfer", "text": "a", "proposed": "habous"}, "proposed"), ({"action": "eat"}, "action"),
        ):  # fmt: skip
            answer = await program.post(f"/v1{site.where}/decisions", json=body, headers={"Accept": "application/json"})
            assert answer.status_code == 422
            [error] = answer.json()["errors"]
            assert error["field"] == field
            assert error["message_fr"] != error["message_ar"]
        site.publisher.fail = DependencyDown("away")
        away = await program.post(f"/v1{site.where}/decisions", json={"action": "start"})
        assert (away.status_code, away.headers["retry-after"]) == (503, "5")


def test_days_are_civil_days_in_morocco(make: Any) -> None:
    assert days_left(make.day(2.6), make.day(0)) == 2  # to 23:24
    assert days_left(make.day(2.65), make.day(0)) == 3  # half past midnight there, and in UTC in Ramadan
    assert days_left(make.day(-1), make.day(0)) == -1
