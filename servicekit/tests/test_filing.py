"""The form of a complaint: kept as typed, checked as intake does, places found without a script; signed cookies."""

from dataclasses import dataclass, replace

import httpx
import pytest
from chikaya_servicekit.pages.cookies import SignedCookie
from chikaya_servicekit.pages.filing import OWN_WORDS, Draft, Incomplete, Remembered, locate, same_name
from fastapi import FastAPI, Request, Response

DRAFT = Draft(
    key="0197a000-0000-7000-8000-000000000001",
    nature="complaint",
    text="Le lampadaire est éteint.",
    name="Salma Idrissi",
    phone="06 12 34 56 78",
    language="fr",
    consent="yes",
)


@dataclass(frozen=True)
class Town:
    code: str
    name_fr: str
    name_ar: str


RABAT = Town("04.421.01.0", "Rabat", "الرباط")
OULAD = [Town("01.001.01.1", "Oulad Saïd", "أولاد سعيد"), Town("02.002.02.2", "Oulad Said", "اولاد سعيد")]


class Away(Exception):
    pass


async def nothing(_: str) -> list[Town]:
    return []


def test_a_form_is_the_submission_that_intake_takes() -> None:
    made = replace(DRAFT, commune="Rabat", commune_code=RABAT.code, commune_for="Rabat").submission(["a1"])
    assert made.contact.phone == "+212612345678"
    assert made.place is not None
    assert (made.place.commune, made.place.text) == (RABAT.code, "Rabat")
    assert made.attachments == ("a1",)
    assert made.administration_wished is None


def test_errors_stand_at_the_forms_own_fields_in_its_order() -> None:
    with pytest.raises(Incomplete) as wrong:
        Draft.new("ar", phone="12").submission()
    assert [(name, error.code) for name, error in wrong.value.errors.items()] == [
        ("text", "missing"),
        ("name", "missing"),
        ("phone", "phone"),
        ("consent", "consent"),
    ]


def test_nobody_to_reach_is_said_at_the_email_with_the_rest_at_once() -> None:
    with pytest.raises(Incomplete) as wrong:
        replace(DRAFT, phone="", name="").submission()
    assert {name: error.code for name, error in wrong.value.errors.items()} == {
        "name": "missing",
        "email": "contact_missing",
    }


def test_line_ends_count_as_browsers_count_them_and_a_bad_key_is_replaced() -> None:
    draft = Draft.read({"text": "un\r\ndeux", "key": "é" * 300})
    assert draft.text == "un\ndeux"
    assert draft.key.isascii()
    assert Draft.read(draft.hidden()) == draft


async def test_one_exact_name_is_taken_and_stays_chosen() -> None:
    async def search(q: str) -> list[Town]:
        return [RABAT, Town("04.421.01.1", "Rabat-Hassan", "الرباط حسان")] if q == "RABAT" else []

    located = await locate(replace(DRAFT, commune="RABAT"), search, Away)
    assert (located.outcome, located.commune, located.draft.chosen) == ("found", RABAT, RABAT.code)
    again = await locate(located.draft, search, Away)
    assert again.commune == RABAT
    changed = replace(located.draft, commune="Fès")
    assert changed.chosen == ""


async def test_several_are_offered_and_the_choice_is_kept_for_these_words_only() -> None:
    async def search(_: str) -> list[Town]:
        return OULAD

    located = await locate(replace(DRAFT, commune="Oulad Said"), search, Away)
    assert (located.outcome, located.candidates) == ("several", tuple(OULAD))
    chosen = await locate(replace(located.draft, commune_code="02.002.02.2"), search, Away)
    assert chosen.commune == OULAD[1]
    own = replace(located.draft, commune_code=OWN_WORDS)
    assert (await locate(own, search, Away)).outcome == "words"
    place = own.submission().place
    assert place is not None
    assert (place.commune, place.text) == (None, "Oulad Said")


@pytest.mark.parametrize("whole_too", [False, True])
async def test_a_place_with_a_quarter_is_found_by_its_first_part(whole_too: bool) -> None:
    async def search(q: str) -> list[Town]:
        return [RABAT] if whole_too or q == "الرباط" else []

    located = await locate(replace(DRAFT, commune="الرباط، أكدال"), search, Away)
    assert located.commune == RABAT
    place = located.draft.submission().place
    assert place is not None
    assert place.text == "الرباط، أكدال"


async def test_an_official_code_may_be_typed() -> None:
    located = await locate(replace(DRAFT, commune="04.421.01.0"), nothing, Away)
    place = located.draft.submission().place
    assert place is not None
    assert (place.commune, place.text) == ("04.421.01.0", None)


async def test_no_more_of_a_name_is_looked_up_than_routing_takes() -> None:
    asked = []

    async def search(q: str) -> list[Town]:
        asked.append(q)
        return []

    await locate(replace(DRAFT, commune=", " + "x" * 150), search, Away)
    assert [len(q) for q in asked] == [80]


async def test_an_unknown_place_or_a_list_that_is_away_holds_nobody_up() -> None:
    async def away(_: str) -> list[Town]:
        raise Away

    assert (await locate(replace(DRAFT, commune="Au fond"), nothing, Away)).outcome == "unknown"
    assert (await locate(replace(DRAFT, commune="Au fond"), away, Away)).outcome == "away"
    assert (await locate(DRAFT, away, Away)).outcome == "empty"


def test_names_are_the_same_whatever_accents_or_hyphens() -> None:
    assert same_name("ait-melloul", "Aït Melloul")
    assert same_name("أكادير", "اكادير")
    assert not same_name("", "")


async def test_what_was_given_last_is_used_while_the_other_service_is_away() -> None:
    answers: list[list[int] | Exception] = [Away(), [1], Away()]
    time = 0.0

    async def load() -> list[int]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    kept = Remembered(load, Away, list[int](), for_s=60, now=lambda: time)
    assert await kept.get() == []
    assert await kept.get() == []
    time = 6
    assert await kept.get() == [1]
    time = 70
    assert await kept.get() == [1]
    assert answers == []


async def test_a_cookie_is_signed_hidden_from_scripts_and_ends() -> None:
    time = 1000.0
    cookie = SignedCookie("test-case", "s" * 32, "https://chikaya.example", 60, now=lambda: time)
    app = FastAPI()

    @app.post("/keep")
    async def keep() -> Response:
        response = Response()
        cookie.keep(response, {"a": 1})
        return response

    @app.get("/read")
    async def read(request: Request) -> dict[str, int] | None:
        return cookie.read(request)

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://chikaya.example") as browser:
        assert (await browser.get("/read")).json() is None
        kept = (await browser.post("/keep")).headers["set-cookie"]
        assert kept.startswith("__Host-test-case=")
        assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/"} <= set(kept.split("; "))
        assert (await browser.get("/read")).json() == {"a": 1}
        value = browser.cookies["__Host-test-case"]
        forged = {"cookie": f"__Host-test-case={value[:-3]}abc"}
        browser.cookies.clear()
        assert (await browser.get("/read", headers=forged)).json() is None
        browser.cookies.set("__Host-test-case", value)
        time += 61
        assert (await browser.get("/read")).json() is None
