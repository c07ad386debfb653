"""Tracking's client, and that its models fit what tracking shows."""

import json

import httpx
import pytest
from chikaya_sdk import Case, Conflict, NotFound, Tracking
from chikaya_sdk import tracking as client

NAMED = {"fr": "Prise en charge", "ar": "تم التكفل بها"}
LISTED = {
    "complaint_id": "0199",
    "reference": "20260000000123",
    "reference_spoken": "2026 0000 0001 23",
    "nature": "complaint",
    "state": "a-state-of-tomorrow",
    "state_name": NAMED,
    "received_at": "2026-03-02T09:00:00Z",
    "administration": None,
}
CASE = {
    **LISTED,
    "channel": "portal",
    "language": "fr",
    "text": "L'eau est coupée.",
    "told": NAMED,
    "deadlines": {"relay": "2026-03-17T22:59:59Z", "answer": "2026-05-01T22:59:59Z", "paused": False},
    "allowed": ["supplement", "withdraw"],
    "history": [{"sequence": 1, "type": "received", "at": "2026-03-02T09:00:00Z", "state": "received"}],
    "added_by_a_later_version": 1,
}
REFERENCE = "2026 0000 0001 23"


def tracking(answers):
    asked = []

    def answer(request):
        asked.append(request)
        return answers.pop(0)

    return Tracking("http://tracking", http=httpx.AsyncClient(transport=httpx.MockTransport(answer))), asked


async def test_a_citizen_reads_a_case():
    citizen, (asked) = tracking([httpx.Response(200, json=CASE)])
    case = await citizen.case(REFERENCE, "ABCD-EFGH-JKMN")
    assert (case.state, case.state_name.ar, list(case.allowed)) == ("a-state-of-tomorrow", NAMED["ar"], CASE["allowed"])
    assert case.history[0].at == case.received_at < case.deadlines.relay
    (request,) = asked
    assert request.url.raw_path == b"/v1/complaints/2026%200000%200001%2023"
    assert (request.headers["Access-Code"], "Authorization" in request.headers) == ("ABCD-EFGH-JKMN", False)


async def test_staff_show_a_token_and_no_code():
    agent, asked = tracking([httpx.Response(200, json={**CASE, "contact": {"name": "Salma Bennani"}})])
    case = await agent.case(REFERENCE, token="agent")
    assert case.contact is not None
    assert (asked[0].headers["Authorization"], "Access-Code" in asked[0].headers) == ("Bearer agent", False)


@pytest.mark.parametrize("who", [{}, {"access_code": "c", "token": "t"}])
async def test_one_is_a_citizen_or_staff(who):
    either, asked = tracking([])
    with pytest.raises(ValueError, match="access code, or a token"):
        await either.case(REFERENCE, **who)
    assert asked == []


async def test_a_request_and_its_outcome():
    citizen, asked = tracking(
        [
            httpx.Response(503, headers={"Retry-After": "0"}),
            httpx.Response(202, json={"request_id": "r1", "status": "pending"}),
            httpx.Response(200, json={"request_id": "r1", "status": "refused", "reason": "state", "message": NAMED}),
        ]
    )
    pending = await citizen.request(REFERENCE, "code", "rate", score=4)
    outcome = await citizen.outcome(REFERENCE, "code", pending.request_id)
    assert (pending.status, outcome.status, outcome.message.fr) == ("pending", "refused", NAMED["fr"])
    first, again, read = asked
    assert first.headers["Idempotency-Key"] == again.headers["Idempotency-Key"]
    assert json.loads(again.content) == {"kind": "rate", "score": 4}
    assert read.url.path == f"/v1/complaints/{REFERENCE}/requests/r1"


async def test_what_the_state_forbids_is_told_in_both_languages():
    error = {"field": "kind", "code": "state", "message_fr": "Pas maintenant.", "message_ar": "ليس الآن."}
    citizen, _ = tracking([httpx.Response(409, json={"title": "No", "errors": [error]})])
    with pytest.raises(Conflict) as caught:
        await citizen.request(REFERENCE, "code", "withdraw")
    assert caught.value.errors[0].message_ar == "ليس الآن."


async def test_a_wrong_code_is_not_found():
    citizen, _ = tracking([httpx.Response(404, json={"title": "Dossier introuvable"})])
    with pytest.raises(NotFound, match="introuvable"):
        await citizen.case(REFERENCE, "code")


async def test_a_request_is_watched_until_it_is_decided_or_patience_ends():
    def answers(*statuses):
        waits = []

        async def sleep(seconds):
            waits.append(seconds)

        given = [
            httpx.Response(503) if s is None else httpx.Response(200, json={"request_id": "r1", "status": s})
            for s in statuses
        ]
        transport = httpx.MockTransport(lambda _: given.pop(0))
        return Tracking("http://tracking", http=httpx.AsyncClient(transport=transport), sleep=sleep), waits

    citizen, waits = answers("pending", "pending", "applied")
    assert (await citizen.settled(REFERENCE, "code", "r1")).status == "applied"
    assert waits == [client.SETTLING_S] * 2
    citizen, waits = answers(*["pending"] * 5)
    assert (await citizen.settled(REFERENCE, "code", "r1", within_s=1.0)).status == "pending"
    assert sum(waits) == 1.0
    citizen, _ = answers(*[None] * 4)
    assert (await citizen.settled(REFERENCE, "code", "r1")).status == "pending"


async def test_an_agent_finds_a_callers_cases_page_by_page():
    agent, asked = tracking(
        [
            httpx.Response(200, json={"complaints": [LISTED], "next": "c2"}),
            httpx.Response(200, json={"complaints": [LISTED]}),
        ]
    )
    first = await agent.find("0612345678", token="agent")
    last = await agent.find("0612345678", token="agent", after=first.next)
    assert (first.complaints[0].reference, last.next) == ("20260000000123", None)
    assert [dict(request.url.params) for request in asked] == [
        {"telephone": "0612345678"},
        {"telephone": "0612345678", "after": "c2"},
    ]


PAIRS = {
    "Case": "CaseShown",
    "CaseDeadlines": "DeadlinesShown",
    "HistoryLine": "EventShown",
    "OpenQuestion": "QuestionShown",
    "Rating": "RatingShown",
    "FiledAttachment": "AttachmentShown",
    "CaseContact": "ContactShown",
    "Notice": "NoticeShown",
    "ListedCase": "ListedShown",
    "Asked": "RequestShown",
    "Named": "AdministrationShown",
    "Words": "Words",
}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS.items())
def test_the_models_fit_what_tracking_shows(ours, theirs):
    shown = getattr(pytest.importorskip("chikaya_tracking.shown"), theirs)
    mine = getattr(client, ours)
    assert set(mine.model_fields) == set(shown.model_fields)
    assert {name for name, field in mine.model_fields.items() if field.is_required()} <= {
        name for name, field in shown.model_fields.items() if field.is_required()
    }


def test_every_model_is_compared():
    models = {
        name for name, model in vars(client).items() if isinstance(model, type) and issubclass(model, client._Open)
    }
    assert models - {"_Open", "Page"} == set(PAIRS)
    assert Case is client.Case
