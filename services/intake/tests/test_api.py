"""Intake over HTTP."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from chikaya_contracts import access, reference
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.staff import Person

RIGHT: dict[str, Any] = {
    "text": "L'éclairage de la rue est en panne depuis un mois.",
    "contact": {"name": "Nadia El Hamdaoui", "phone": "0600000090"},
    "consent": True,
}
PDF = ("facture.pdf", b"%PDF-1.7\n" + b"x" * 100, "text/html")


async def test_a_complaint_is_answered_with_its_receipt(parts: Any) -> None:
    async with parts.client() as client:
        answer = await client.post("/v1/complaints", json=RIGHT)
    assert answer.status_code == 201
    receipt = answer.json()
    assert reference.parse(receipt["reference"]) == receipt["reference"]
    assert receipt["deadlines"] == {"relay": "2026-03-17T23:59:59Z", "answer": "2026-05-04T22:59:59Z"}
    message = parts.complaints.kept[receipt["complaint_id"]].message
    assert access.opens(parts.secrets.verifier, message.complaint_id, receipt["access_code"], message.verifier)
    assert (message.channel, message.contact.phone) == ("portal", "+212600000090")


async def test_a_retry_with_the_same_key_gives_the_same_receipt(parts: Any) -> None:
    async with parts.client() as client:
        headers = {"Idempotency-Key": "k1"}
        first = await client.post("/v1/complaints", json=RIGHT, headers=headers)
        indented = json.dumps(RIGHT, indent=3)
        typed = headers | {"Content-Type": "application/json"}
        again = await client.post("/v1/complaints", content=indented, headers=typed)
        other = await client.post("/v1/complaints", json=RIGHT | {"text": "Autre chose."}, headers=headers)
        theirs = await client.post("/v1/complaints", json=RIGHT, headers=headers | {"X-API-Key": "o" * 43})
        kept = await client.get("/v1/receipts/k1")
    assert (first.status_code, again.status_code, other.status_code, theirs.status_code) == (201, 201, 409, 201)
    assert first.json() == again.json() == kept.json()
    assert theirs.json()["complaint_id"] != first.json()["complaint_id"]
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_without_a_key_each_request_is_a_complaint(parts: Any) -> None:
    async with parts.client() as client:
        answers = [(await client.post("/v1/complaints", json=RIGHT)).json() for _ in range(3)]
    assert len({answer["reference"] for answer in answers}) == 3


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "é".encode().decode("latin-1")])
async def test_a_key_that_cannot_be_one_is_refused(parts: Any, key: str) -> None:
    async with parts.client() as client:
        answer = await client.post("/v1/complaints", json=RIGHT, headers={"Idempotency-Key": key.encode("latin-1")})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


@pytest.mark.parametrize("headers", [{"X-API-Key": ""}, {"X-API-Key": "unknown"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/complaints"),
        ("POST", "/v1/attachments"),
        ("GET", "/v1/receipts/x"),
        ("GET", "/v1/attachments/x/link"),
    ],
)
async def test_only_a_channel_with_a_key_is_let_in(parts: Any, headers: dict[str, str], method: str, path: str) -> None:
    async with parts.client() as client:
        answer = await client.request(method, path, json=RIGHT if path == "/v1/complaints" else None, headers=headers)
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers
    assert parts.complaints.kept == {}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"text": "x"}, "text"),
        ({"text": None}, "text"),
        ({"nature": "plainte"}, "nature"),
        ({"consent": False}, "consent"),
        ({"contact": {"name": "A"}}, "contact.name"),
        ({"contact": {"name": "Ali"}}, "contact"),
        ({"contact": {"name": "Ali", "email": "x"}}, "contact.email"),
        ({"contact": {"name": "Ali", "phone": "x"}}, "contact.phone"),
        ({"place": {"commune": "Rabat"}}, "place.commune"),
        ({"language": "zgh"}, "language"),
        ({"administration_wished": "É"}, "administration_wished"),
        ({"attachments": ["a"] * 6}, "attachments"),
        ({"attachments": ["none"]}, "attachments"),
        ({"channel": "callcenter"}, "channel"),
    ],
)
async def test_every_mistake_names_its_field_in_french_and_arabic(
    parts: Any, change: dict[str, Any], field: str
) -> None:
    async with parts.client() as client:
        answer = await client.post("/v1/complaints", json=RIGHT | change)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert error["message_fr"].isprintable()
    assert any("\u0600" <= letter <= "\u06ff" for letter in error["message_ar"])
    assert parts.complaints.kept == {}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"text": "\xff"}', b'{"text": "\\ud800 abcdef"}'])
async def test_what_is_no_submission_at_all_is_a_problem_too(parts: Any, body: bytes) -> None:
    async with parts.client() as client:
        answer = await client.post("/v1/complaints", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_request_larger_than_any_complaint_is_refused_while_it_arrives(parts: Any) -> None:
    arrived = 0

    async def endless() -> Any:
        nonlocal arrived
        while arrived < 100:
            arrived += 1
            yield b" " * 64 * 1024

    async with parts.client() as client:
        answer = await client.post("/v1/complaints", content=endless())
    assert answer.status_code == 413
    assert arrived < 10


async def test_with_kafka_away_the_citizen_has_a_receipt(parts: Any) -> None:
    parts.publisher.fail = DependencyDown("away")
    async with parts.client() as client:
        assert (await client.post("/v1/complaints", json=RIGHT)).status_code == 201
    assert len(parts.complaints.unmarked()) == 1


async def test_with_the_store_away_there_is_no_reference(parts: Any) -> None:
    parts.complaints.away = True
    async with parts.client() as client:
        answer = await client.post("/v1/complaints", json=RIGHT)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert "confirm" in answer.json()["title"]
    assert not any(word in answer.text for word in ("20260000", "access_code", "Rien n'a"))
    assert parts.complaints.kept == {}


async def test_a_write_whose_acknowledgement_was_lost_is_no_second_complaint(parts: Any) -> None:
    headers = {"Idempotency-Key": "k"}
    async with parts.client() as client:
        parts.complaints.dies = {"add": "after"}
        unconfirmed = await client.post("/v1/complaints", json=RIGHT, headers=headers)
        parts.complaints.dies = {}
        again = await client.post("/v1/complaints", json=RIGHT, headers=headers)
        once_more = await client.post("/v1/complaints", json=RIGHT, headers=headers)
        other = await client.post("/v1/complaints", json=RIGHT | {"text": "Autre chose."}, headers=headers)
    assert (unconfirmed.status_code, again.status_code, other.status_code) == (503, 201, 409)
    assert "Idempotency-Key" in unconfirmed.json()["detail"]
    assert again.json() == once_more.json()
    assert list(parts.complaints.kept) == [again.json()["complaint_id"]]
    await parts.outbox.recover()
    assert [event.data.reference for event in parts.publisher.events] == [again.json()["reference"]]


@pytest.mark.parametrize(
    "change",
    [
        {"text": "L'éclairage de la rue est en panne depuis un an."},
        {"nature": "observation"},
        {"contact": RIGHT["contact"] | {"name": "Nadia"}},
        {"contact": RIGHT["contact"] | {"email": "nadia@example.com"}},
        {"place": {"text": "Hay Riad"}},
        {"administration_wished": "onee"},
        {"language": "ar"},
    ],
)
async def test_a_key_is_for_one_submission_whatever_is_different(parts: Any, change: dict[str, Any]) -> None:
    async with parts.client() as client:
        first = await client.post("/v1/complaints", json=RIGHT, headers={"Idempotency-Key": "k"})
        other = await client.post("/v1/complaints", json=RIGHT | change, headers={"Idempotency-Key": "k"})
    assert (first.status_code, other.status_code) == (201, 409)


async def test_a_channel_that_sends_too_fast_is_asked_to_wait(wire: Callable[..., Any]) -> None:
    parts = wire(requests_per_minute=2)
    async with parts.client() as client:
        answers = [await client.get("/v1/receipts/x") for _ in range(3)]
        other = await client.get("/v1/receipts/x", headers={"X-API-Key": "o" * 43})
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert answers[2].headers["Retry-After"] == "30"
    assert other.status_code == 404


async def test_a_receipt_is_its_own_channels(parts: Any, a_filing: Any) -> None:
    await parts.reception.accept(a_filing(channel="kiosk", key="a/b c"))
    async with parts.client() as client:
        assert (await client.get("/v1/receipts/a%2Fb%20c")).status_code == 404
        answer = await client.get("/v1/receipts/a%2Fb%20c", headers={"X-API-Key": "o" * 43})
    assert answer.status_code == 200
    assert answer.json()["access_code"]


async def test_a_file_comes_back_by_its_link_for_a_while(parts: Any) -> None:
    async with parts.client() as client:
        stored = await client.post("/v1/attachments", files={"file": PDF})
        assert stored.status_code == 201
        about = stored.json()
        assert (about["filename"], about["media_type"], about["size"]) == ("facture.pdf", "application/pdf", 109)
        link = (await client.get(f"/v1/attachments/{about['id']}/link")).json()
        answer = await client.get(link["url"], headers={"X-API-Key": ""})
        assert answer.content == PDF[1]
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''facture.pdf"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert (await client.get(link["url"][:-1] + "z")).status_code == 403
        parts.clock.now += timedelta(seconds=61)
        assert (await client.get(link["url"])).status_code == 403


async def test_the_message_links_to_its_files_until_the_case_can_be_over(parts: Any) -> None:
    async with parts.client() as client:
        id_ = (await client.post("/v1/attachments", files={"file": PDF})).json()["id"]
        filed = (await client.post("/v1/complaints", json=RIGHT | {"attachments": [id_]})).json()
        (file,) = parts.complaints.kept[filed["complaint_id"]].message.attachments
        parts.clock.now += timedelta(days=180)
        assert (await client.get(file.url, headers={"X-API-Key": ""})).content == PDF[1]
        parts.clock.now += timedelta(days=11)
        assert (await client.get(file.url)).status_code == 403


async def test_a_link_is_for_the_owning_channel_and_for_staff(parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    roles: list[str] = []

    async def person(token: str) -> Person | None:
        return Person("x", "x", "x", tuple(roles), None, token) if token == "good" else None

    monkeypatch.setattr("chikaya_servicekit.staff._Provider.person", lambda _, token: person(token))
    async with parts.client() as client:
        id_ = (await client.post("/v1/attachments", files={"file": PDF})).json()["id"]
        path = f"/v1/attachments/{id_}/link"
        assert (await client.get(path, headers={"X-API-Key": "o" * 43})).status_code == 404
        assert (await client.get("/v1/attachments/none/link")).status_code == 404
        del client.headers["X-API-Key"]
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers={"Authorization": "Bearer bad"})).status_code == 401
        assert (await client.get(path, headers={"Authorization": "Bearer good"})).status_code == 403
        roles.append("officer")
        assert (await client.get(path, headers={"Authorization": "Bearer good"})).status_code == 200


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({"file": ("a.pdf", b"<html>", "application/pdf")}, 415),
        ({"file": ("a.pdf", b"", "application/pdf")}, 415),
        ({"other": PDF}, 422),
        ({"file": ("a.pdf", b"%PDF-1.7\n" + bytes(20 * 1024 * 1024), "application/pdf")}, 413),
        ({"file": ("a.pdf", b"%PDF-1.7\n" + bytes(21 * 1024 * 1024), "application/pdf")}, 413),
    ],
)
async def test_a_file_that_is_not_taken_says_why(parts: Any, files: Any, status: int) -> None:
    async with parts.client() as client:
        answer = await client.post("/v1/attachments", files=files)
    assert answer.status_code == status
    assert any("\u0600" <= letter <= "\u06ff" for letter in answer.json()["title"])
    assert parts.attachments.files == {}


async def test_an_attachment_accompanies_its_complaint(parts: Any) -> None:
    async with parts.client() as client:
        id_ = (await client.post("/v1/attachments", files={"file": PDF})).json()["id"]
        first = await client.post("/v1/complaints", json=RIGHT | {"attachments": [id_]})
        second = await client.post("/v1/complaints", json=RIGHT | {"attachments": [id_]})
    assert (first.status_code, second.status_code) == (201, 422)
    (file,) = parts.complaints.kept[first.json()["complaint_id"]].message.attachments
    assert file.id == id_


async def test_the_description_names_what_is_sent(parts: Any) -> None:
    async with parts.client() as client:
        described = (await client.get("/openapi.json")).json()
    assert set(described["paths"]) >= {"/v1/complaints", "/v1/attachments", "/v1/receipts/{sender_id}"}
    upload = described["paths"]["/v1/attachments"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert upload["schema"]["required"] == ["file"]
    filing = described["paths"]["/v1/complaints"]["post"]
    sent = filing["requestBody"]["content"]["application/json"]["schema"]
    given = filing["responses"]["201"]["content"]["application/json"]["schema"]
    assert (sent["$ref"].rsplit("/")[-1], given["$ref"].rsplit("/")[-1]) == ("Submission", "Receipt")
    assert [parameter["name"] for parameter in filing["parameters"]] == ["idempotency-key"]
    assert filing["security"] == [{"APIKeyHeader": []}]


async def test_a_form_whose_boundary_nobody_would_write_is_no_form(parts: Any) -> None:
    async with parts.client() as client:
        typed = {"Content-Type": "multipart/form-data; boundary=" + "x" * 300}
        answer = await client.post("/v1/attachments", content=b"--x", headers=typed)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "file")
