"""The JSON API: what anybody may ask, and triage for staff's programs."""

from typing import Any

SALMA, NADIA, AGENT, OFFICER = "salma;triage", "nadia;coordinator", "youssef;agent", "hind;officer"


async def test_a_text_is_classified_with_its_reasons_and_nothing_is_kept(parts: Any) -> None:
    async with parts.client() as http:
        answer = await http.post("/v1/classify", json={"text": "triage unsure à Rabat", "place": "04.421.01.0"})
    assert answer.status_code == 200
    found = answer.json()
    assert (found["outcome"], found["reason"], found["administration"]) == ("triage", "unsure", None)
    assert found["alternatives"][0] == {
        "target": "onee", "probability": 0.6, "name_fr": "Office onee", "name_ar": "مكتب onee"
    }  # fmt: skip
    assert found["alternatives"][1]["name_fr"] == "Affaire devant la justice ou jugée"
    assert found["words"] == [{"word": "courant", "share": 0.7}, {"word": "panne", "share": 0.3}]
    assert (found["place"]["commune"]["code"], found["place"]["source"]) == ("04.421.01.0", "form")
    assert (found["language"], found["stage"], found["model_version"]) == ("fr", "model", "obedient")
    assert parts.store.kept == {}
    assert parts.publisher.events == []


async def test_classifying_is_limited_and_says_when_to_come_back(make: Any) -> None:
    parts = make.Parts(per_minute=2)
    async with parts.client() as http:
        codes = [(await http.post("/v1/classify", json={"text": "triage unsure"})).status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        refused = await http.post("/v1/classify", json={"text": "triage unsure"})
        assert int(refused.headers["Retry-After"]) >= 1
        parts.seconds = 31
        assert (await http.post("/v1/classify", json={"text": "triage unsure"})).status_code == 200


async def test_what_is_wrong_with_a_text_names_its_field(parts: Any) -> None:
    async with parts.client() as http:
        answer = await http.post("/v1/classify", json={"text": "abc"})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "text")
        assert (await http.post("/v1/classify", json={"text": "triage unsure", "x": 1})).status_code == 422


async def test_administrations_are_listed_without_communes_and_cached_by_version(parts: Any) -> None:
    async with parts.client() as http:
        answer = await http.get("/v1/administrations")
        assert [row["slug"] for row in answer.json()["administrations"]] == ["cnss", "onee", "habous", "oncf"]
        tag = answer.headers["ETag"]
        again = await http.get("/v1/administrations", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        other = await http.get("/v1/administrations?q=habous", headers={"If-None-Match": tag})
        assert [row["slug"] for row in other.json()["administrations"]] == ["habous"]
        assert (await http.get("/v1/administrations?kind=ministry")).json()["administrations"] == []
        assert (await http.get("/v1/administrations?kind=commune")).status_code == 422
        communes = await http.get("/v1/administrations?kind=commune&q=الرباط")
        assert [row["slug"] for row in communes.json()["administrations"]] == ["commune-04-421-01-0"]


async def test_places_are_found_by_how_they_begin_and_by_their_districts(parts: Any) -> None:
    async with parts.client() as http:
        found = (await http.get("/v1/places", params={"q": "casab"})).json()["places"]
        assert found[0] == {
            "code": "06.141.01.0", "slug": "commune-06-141-01-0", "name_fr": "Casablanca", "name_ar": "الدار البيضاء",
            "province_fr": found[0]["province_fr"], "province_ar": found[0]["province_ar"],
        }  # fmt: skip
        arabic = (await http.get("/v1/places", params={"q": "رباط", "limit": 3})).json()["places"]
        assert arabic[0]["name_fr"] == "Rabat"
        assert len(arabic) <= 3
        district = (await http.get("/v1/places", params={"q": "Maârif"})).json()["places"]
        assert [row["name_fr"] for row in district] == ["Casablanca"]
        two = (await http.get("/v1/places", params={"q": "ouled teima taroud"})).json()["places"]
        assert all("aroud" in row["province_fr"] for row in two)
        assert (await http.get("/v1/places", params={"q": "xkwv"})).json() == {"places": []}
        assert (await http.get("/v1/places", params={"q": ""})).status_code == 422


async def test_triage_is_for_staff(parts: Any) -> None:
    for person, status in (("", 401), (AGENT, 403), (OFFICER, 403), (SALMA, 200), (NADIA, 200)):
        async with parts.client(person) as http:
            assert (await http.get("/v1/triage")).status_code == status
    async with parts.client(AGENT) as http:
        assert (await http.post("/v1/triage/x/decision", json={"action": "ask"})).status_code == 403


async def test_the_queue_and_an_item_show_why_it_is_there(parts: Any) -> None:
    events = await parts.submit(*["triage unsure à Rabat"] * 3)
    async with parts.client(SALMA) as http:
        first = (await http.get("/v1/triage?limit=2")).json()
        rest = (await http.get("/v1/triage", params={"limit": 2, "after": first["next"]})).json()
        assert (first["count"], rest["next"]) == (3, None)
        ids = [row["complaint_id"] for row in first["items"] + rest["items"]]
        assert ids == [event.data.complaint_id for event in events]
        assert first["items"][0]["place"]["name_fr"] == "Rabat"
        assert (await http.get("/v1/triage?after=nonsense")).status_code == 422
        item = (await http.get(f"/v1/triage/{ids[0]}")).json()
    assert (item["text"], item["reason"], item["held_by"]) == ("triage unsure à Rabat", "unsure", None)
    assert item["contact"] == {"name": "Nadia El Hamdaoui", "phone": "+212600000090"}
    assert [one["outcome"] for one in item["decisions"]] == ["triaged"]
    assert item["relay_due"].startswith("2026-03-17")


async def test_a_decision_rests_can_be_undone_and_is_refused_twice(parts: Any) -> None:
    (event,) = await parts.submit("triage unsure")
    path = f"/v1/triage/{event.data.complaint_id}/decision"
    async with parts.client(SALMA) as http, parts.client(NADIA) as other:
        answer = await http.post(path, json={"action": "route", "administration": "cnss", "note": " urgent "})
        assert answer.status_code == 202
        found = answer.json()
        assert found["decisions"][-1]["administration"]["slug"] == "cnss"
        assert found["decisions"][-1]["resting"]
        assert found["undo_until"] < found["release_at"]
        assert (await other.post(path, json={"action": "reject", "reason": "court"})).status_code == 409
        assert (await other.delete(path)).status_code == 200
        held = await http.post(path, json={"action": "reject", "reason": "court"})
        assert (held.status_code, held.json()["title"].split(" · ")[0]) == (
            409, "Un autre agent traite cette réclamation."
        )  # fmt: skip
        assert (await other.post(path, json={"action": "reject", "reason": "court"})).status_code == 202
        parts.clock.pass_(60)
        assert (await other.delete(path)).status_code == 409
        assert (await http.delete("/v1/triage/nobody/decision")).status_code == 404


async def test_a_decision_names_what_it_needs(parts: Any) -> None:
    (event,) = await parts.submit("triage unsure")
    path = f"/v1/triage/{event.data.complaint_id}/decision"
    async with parts.client(SALMA) as http:
        for body, field in (
            ({"action": "route"}, "administration"),
            ({"action": "reject"}, "reason"),
            ({"action": "ask"}, "question"),
            ({"action": "reject", "reason": "tired"}, "reason"),
            ({"action": "close"}, "action"),
        ):
            answer = await http.post(path, json=body)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
        unknown = await http.post(path, json={"action": "route", "administration": "gone"})
        assert (unknown.status_code, "catalogue" in unknown.json()["title"]) == (422, True)
        assert (await http.post(path, json={"action": "ask", "question": "place"})).status_code == 202


async def test_an_explanation_is_for_staff_by_id_or_reference(parts: Any) -> None:
    (event,) = await parts.submit("routed cnss")
    async with parts.client(AGENT) as http:
        by_id = await http.get(f"/v1/complaints/{event.data.complaint_id}/explanation")
        by_reference = await http.get(f"/v1/complaints/{event.data.reference}/explanation")
        assert by_id.json() == by_reference.json()
        assert by_id.json()["decisions"][0]["administration"]["name_ar"] == "مكتب cnss"
        assert by_id.json()["judgement"]["words"][0]["word"] == "courant"
        assert (await http.get("/v1/complaints/nobody/explanation")).status_code == 404
    async with parts.client(OFFICER) as http:
        assert (await http.get(f"/v1/complaints/{event.data.complaint_id}/explanation")).status_code == 403
