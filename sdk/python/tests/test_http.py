"""Intake's and routing's clients against answers as those services give them."""

import json

import httpx
import pytest
from chikaya_sdk import (
    ChikayaError,
    Conflict,
    Contact,
    Intake,
    NotAllowed,
    NotFound,
    Refused,
    Routing,
    Submission,
    TooManyTries,
    Unavailable,
)

SUBMISSION = Submission(
    text="L'eau est coupée depuis trois jours.",
    contact=Contact(name="Salma Bennani", phone="0612345678"),
    consent=True,
)
RECEIPT = {
    "complaint_id": "0199",
    "reference": "20260000000123",
    "access_code": "ABCD-EFGH-JKMN",
    "received_at": "2026-03-02T09:00:00Z",
    "deadlines": {"relay": "2026-03-17T22:59:59Z", "answer": "2026-05-01T22:59:59Z"},
    "added_by_a_later_version": True,
}


class Answers:
    """Gives the answers in turn, and keeps what was asked and how long was waited between."""

    def __init__(self, *answers):
        self.answers, self.asked, self.waits = list(answers), [], []

    async def __call__(self, request):
        await request.aread()
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds):
        self.waits.append(seconds)

    @property
    def options(self):
        return {"http": httpx.AsyncClient(transport=httpx.MockTransport(self)), "sleep": self.sleep}


def away(retry_after=None):
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return httpx.Response(503, headers=headers, json={"title": "Kafka is away", "status": 503})


async def test_a_submission_gives_a_receipt():
    answers = Answers(httpx.Response(201, json=RECEIPT))
    async with Intake("http://intake/", "secret", **answers.options) as intake:
        receipt = await intake.submit(SUBMISSION, idempotency_key="mine")
    assert (receipt.reference, receipt.access_code) == ("20260000000123", "ABCD-EFGH-JKMN")
    assert receipt.deadlines["answer"] > receipt.deadlines["relay"] > receipt.received_at
    (request,) = answers.asked
    assert (request.method, str(request.url)) == ("POST", "http://intake/v1/complaints")
    assert (request.headers["X-API-Key"], request.headers["Idempotency-Key"]) == ("secret", "mine")
    assert Submission.model_validate_json(request.content) == SUBMISSION


async def test_what_fails_on_the_way_is_repeated_with_the_same_key():
    answers = Answers(httpx.ReadTimeout("lost"), away(), away("2"), httpx.Response(201, json=RECEIPT))
    async with Intake("http://intake", "secret", **answers.options) as intake:
        await intake.submit(SUBMISSION)
    assert len({request.headers["Idempotency-Key"] for request in answers.asked}) == 1
    assert len({request.content for request in answers.asked}) == 1
    assert answers.waits[0] < answers.waits[1] < 1 < answers.waits[2] == 2


async def test_two_submissions_without_a_key_are_two():
    answers = Answers(httpx.Response(201, json=RECEIPT), httpx.Response(201, json=RECEIPT))
    async with Intake("http://intake", "secret", **answers.options) as intake:
        await intake.submit(SUBMISSION)
        await intake.submit(SUBMISSION)
    assert len({request.headers["Idempotency-Key"] for request in answers.asked}) == 2


async def test_tries_are_bounded():
    answers = Answers(*(away("1") for _ in range(9)))
    async with Intake("http://intake", "secret", **answers.options) as intake:
        with pytest.raises(Unavailable, match="Kafka is away") as caught:
            await intake.submit(SUBMISSION)
    assert caught.value.retry_after == 1
    assert len(answers.asked) == 4


async def test_a_long_absence_is_told_at_once():
    answers = Answers(away("60"))
    async with Intake("http://intake", "secret", **answers.options) as intake:
        with pytest.raises(Unavailable) as caught:
            await intake.submit(SUBMISSION)
    assert (caught.value.retry_after, answers.waits) == (60, [])


async def test_no_connection_names_the_service():
    answers = Answers(*(httpx.ConnectError("refused") for _ in range(4)))
    async with Intake("http://intake", "secret", **answers.options) as intake:
        with pytest.raises(Unavailable, match="http://intake cannot be reached: ConnectError"):
            await intake.receipt("kiosk-1")


async def test_a_refusal_names_each_field_in_both_languages():
    error = {"field": "contact.phone", "code": "phone", "message_fr": "Numéro invalide.", "message_ar": "رقم غير صحيح."}
    document = {"type": "about:blank", "title": "Refused", "status": 422, "errors": [error]}
    answers = Answers(httpx.Response(422, json=document))
    async with Intake("http://intake", "secret", **answers.options) as intake:
        with pytest.raises(Refused, match=r"contact\.phone: phone") as caught:
            await intake.submit(SUBMISSION)
    assert [one.model_dump() for one in caught.value.errors] == [error]
    assert caught.value.problem == document


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, NotAllowed),
        (403, NotAllowed),
        (404, NotFound),
        (409, Conflict),
        (413, Refused),
        (415, Refused),
        (500, ChikayaError),
    ],
)
async def test_each_problem_has_its_class(status, kind):
    answers = Answers(httpx.Response(status, json={"title": "No", "detail": "not like this"}))
    async with Intake("http://intake", "secret", **answers.options) as intake:
        with pytest.raises(kind, match="not like this"):
            await intake.submit(SUBMISSION)
    assert len(answers.asked) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"errors": 1}', b'{"errors": [{"field": "x"}]}'])
async def test_a_problem_that_is_none_is_still_a_refusal(body):
    answers = Answers(httpx.Response(422, content=body))
    async with Intake("http://intake", "secret", **answers.options) as intake:
        with pytest.raises(Refused) as caught:
            await intake.submit(SUBMISSION)
    assert caught.value.errors == ()


async def test_too_many_tries_says_how_long_to_wait():
    answers = Answers(httpx.Response(429, headers={"Retry-After": "30"}, json={"title": "Too many"}))
    async with Intake("http://intake", "secret", **answers.options) as intake:
        with pytest.raises(TooManyTries) as caught:
            await intake.receipt("x")
    assert caught.value.retry_after == 30


async def test_an_attachment_is_sent_as_a_file():
    answers = Answers(away(), httpx.Response(201, json={"id": "a1", "filename": "photo.jpg"}))
    async with Intake("http://intake", "secret", **answers.options) as intake:
        assert await intake.attach("photo.jpg", b"\xff\xd8", "image/jpeg") == "a1"
    for request in answers.asked:
        assert request.headers["Content-Type"].startswith("multipart/form-data")
        assert b'name="file"; filename="photo.jpg"' in request.content
        assert b"Content-Type: image/jpeg" in request.content
        assert b"\xff\xd8" in request.content


async def test_the_receipt_of_a_submission_over_kafka():
    answers = Answers(httpx.Response(200, json=RECEIPT))
    async with Intake("http://intake", "secret", **answers.options) as intake:
        assert (await intake.receipt("guichet/7")).access_code == "ABCD-EFGH-JKMN"
    assert answers.asked[0].url.raw_path == b"/v1/receipts/guichet%2F7"


async def test_a_link_to_an_attachment_is_for_its_channel_or_for_staff():
    link = {"url": "http://intake/v1/attachments/a1?expires=9&signature=s", "expires": 9}
    answers = Answers(httpx.Response(200, json=link), httpx.Response(200, json=link))
    async with Intake("http://intake", "secret", **answers.options) as intake:
        assert (await intake.link("a1")).url == link["url"]
        await intake.link("a1", token="officer")
    channel, staff = answers.asked
    assert channel.url.path == "/v1/attachments/a1/link"
    assert (channel.headers["X-API-Key"], "Authorization" in channel.headers) == ("secret", False)
    assert (staff.headers["Authorization"], "X-API-Key" in staff.headers) == ("Bearer officer", False)


async def test_a_client_of_ones_own_stays_open():
    answers = Answers(httpx.Response(201, json=RECEIPT))
    options = answers.options
    async with Intake("http://intake", "secret", **options):
        pass
    assert not options["http"].is_closed
    own = Intake("http://intake", "secret")
    async with own:
        pass
    assert own._http.is_closed


async def test_routing_lists_administrations_and_places():
    row = {"slug": "cnss", "name_fr": "CNSS", "name_ar": "الصندوق", "kind": "establishment", "own_system": True}
    commune = {"code": "04.421.01.01.", "name_fr": "Agdal Riyad", "name_ar": "أكدال الرياض", "province_fr": "Rabat"}
    answers = Answers(
        httpx.Response(200, json={"administrations": [row]}),
        httpx.Response(200, json={"places": [commune]}),
        httpx.Response(200, json={"outcome": "routed"}),
    )
    async with Routing("http://routing", **answers.options) as routing:
        (cnss,) = await routing.administrations()
        (found,) = await routing.places("أكدال & co")
        decided = await routing.classify("L'eau est coupée.", "04.421.01.01.")
    assert (cnss.slug, cnss.competence, found.name_ar, found.province_ar) == ("cnss", "", "أكدال الرياض", None)
    assert decided == {"outcome": "routed"}
    assert answers.asked[1].url.params["q"] == "أكدال & co"
    assert json.loads(answers.asked[2].content) == {"text": "L'eau est coupée.", "place": "04.421.01.01."}
