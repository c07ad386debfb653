"""An administration on a real broker: what it reads, what it decides, and what a crash leaves."""

import asyncio
import os
import signal
import sys

import pytest
from chikaya_contracts.ids import consequence_id, new_id
from chikaya_contracts.messages.administration import Acknowledge, Answer, AskCitizen, RequestTransfer, Start
from chikaya_sdk import Administration, Desk, Dossier, FollowUp, NotAllowed, Unavailable, UndecodableRecord


async def take(administration, count):
    """Items of the inbox, each handled when the next is asked for; the last one is left unhandled."""
    items = []
    async with asyncio.timeout(30):
        async for item in administration.inbox():
            items.append(item)
            if len(items) == count:
                break
    return items


async def _fail_at_once(administration):
    async for _ in administration.inbox():
        raise ZeroDivisionError


async def test_a_dossier_and_its_follow_up_are_decided_on(place, chikaya, dossier, follow_up):
    relayed = dossier("cnss")
    answered = follow_up("cnss", relayed.data.complaint_id)
    await chikaya.write(relayed, answered)
    async with Administration("cnss", *place.account("cnss")) as cnss:
        async with asyncio.timeout(30):
            async for item in cnss.inbox():
                if isinstance(item, Dossier):
                    await item.acknowledge(officer="guichet 3")
                    await item.start()
                    await item.ask("Quel est votre numéro d'immatriculation ?")
                else:
                    assert isinstance(item, FollowUp)
                    assert item.data.text == "Voici mon numéro."
                    await item.request_transfer("Relève de l'ONEE.", "onee")
                    await item.answer("Votre carte part demain.")
                    break
    decided = await chikaya.read("administration.cnss.outbox.v1", 5)
    complaint = {"complaint_id": relayed.data.complaint_id, "administration": "cnss"}
    assert [event.data for event in decided] == [
        Acknowledge(**complaint, officer="guichet 3"),
        Start(**complaint),
        AskCitizen(**complaint, text="Quel est votre numéro d'immatriculation ?"),
        RequestTransfer(**complaint, text="Relève de l'ONEE.", proposed="onee"),
        Answer(**complaint, text="Votre carte part demain."),
    ]
    causes = [relayed, relayed, relayed, answered, answered]
    assert [event.id for event in decided] == [
        consequence_id(cause.id, event.type) for cause, event in zip(causes, decided, strict=True)
    ]
    assert {event.traceparent for event in decided} == {relayed.traceparent}


async def test_what_a_loop_leaves_unhandled_begins_the_next(place, chikaya, dossier):
    sent = [dossier("onee", complaint_id="same-partition") for _ in range(3)]
    await chikaya.write(*sent)
    async with Administration("onee", *place.account("onee")) as onee:
        first, second = await take(onee, 2)  # a break at the second
        (again,) = await take(onee, 1)
        with pytest.raises(ZeroDivisionError):
            await _fail_at_once(onee)
        (once_more,) = await take(onee, 1)
    assert [item.event.id for item in (first, second, again, once_more)] == [sent[0].id, *[sent[1].id] * 3]
    async with Administration("onee", *place.account("onee")) as onee:  # as after a restart
        assert [item.event.id for item in await take(onee, 2)] == [sent[1].id, sent[2].id]


CRASHING = """
import asyncio, os
from chikaya_sdk import Administration

async def main():
    async with Administration("dgi", *os.environ["ACCOUNT"].split()) as dgi:
        async for item in dgi.inbox():
            await item.acknowledge()
            print(item.event.id, flush=True)
            if item.data.decision == 2:
                await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_a_kill_between_handling_and_commit_repeats_the_same_decision(place, chikaya, dossier):
    sent = [dossier("dgi", complaint_id="c", decision=number) for number in (1, 2, 3)]
    await chikaya.write(*sent)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASHING, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "ACCOUNT": " ".join(place.account("dgi"))},
    )  # fmt: skip
    assert child.stdout is not None
    handled = [(await asyncio.wait_for(child.stdout.readline(), 30)).decode().strip() for _ in range(2)]
    assert handled == [sent[0].id, sent[1].id]
    child.send_signal(signal.SIGKILL)
    await child.wait()

    after = []
    async with Administration("dgi", *place.account("dgi")) as dgi, asyncio.timeout(30):
        async for item in dgi.inbox():
            await item.acknowledge()
            after.append(item.event.id)
            if len(after) == 2:
                break
    assert after == [sent[1].id, sent[2].id]
    decided = [event.id for event in await chikaya.read("administration.dgi.outbox.v1", 4)]
    first, second, third = (consequence_id(event.id, Acknowledge.TYPE) for event in sent)
    assert decided == [first, second, second, third]


async def test_what_nobody_can_read_is_told_of_and_passed_over(place, chikaya, dossier):
    inbox, good = "administration.narsa.inbox.v1", dossier("narsa", complaint_id="k")
    head = {"ce_specversion": "1.0", "ce_id": "x", "ce_source": "/routing", "ce_time": "2026-03-02T09:00:00+00:00"}
    await chikaya.write_raw(inbox, b"Salma", {})
    await chikaya.write_raw(inbox, b'{"text": "Salma"}', {**head, "ce_type": good.type})
    await chikaya.write_raw(inbox, b"{}", {**head, "ce_type": "ma.chikaya.of-tomorrow.v9"})
    await chikaya.write(good)
    told: list[UndecodableRecord] = []

    async def tell(record):
        told.append(record)

    async with Administration("narsa", *place.account("narsa"), on_undecodable=tell) as narsa:
        (item,) = await take(narsa, 1)
    assert item.event.id == good.id
    assert [(record.topic, record.offset, record.value) for record in told] == [
        (inbox, 0, b"Salma"),
        (inbox, 1, b'{"text": "Salma"}'),
    ]
    assert told[0].reason == "no header ce_type"
    assert "complaint_id: missing" in told[1].reason
    assert "Salma" not in f"{told}"

    told.clear()
    async with Administration("narsa", *place.account("narsa"), on_undecodable=tell) as narsa:
        await take(narsa, 1)
    assert told == []  # their offsets were committed: no process meets them again


async def test_a_reader_that_may_not_pass_over_stops_at_the_record(place, chikaya):
    await chikaya.write_raw("administration.dgsn.inbox.v1", b"?", {})

    async def refuse(record):
        raise RuntimeError(record.reason)

    async with Administration("dgsn", *place.account("dgsn"), on_undecodable=refuse) as dgsn:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no header"):
                await take(dgsn, 1)


async def test_an_officer_decides_later_and_a_repeat_keeps_its_id(place, chikaya):
    shown_in_the_form = new_id()
    async with Administration("sante", *place.account("sante")) as sante:
        answer = Answer(complaint_id="c", administration="sante", text="C'est fait.")
        for _ in range(2):
            assert await sante.decide(answer, decision_id=shown_in_the_form) == shown_in_the_form
        with pytest.raises(ValueError, match="sante cannot decide for cnss"):
            await sante.decide(Acknowledge(complaint_id="c", administration="cnss"))
    assert [event.id for event in await chikaya.read("administration.sante.outbox.v1", 2)] == [shown_in_the_form] * 2


async def test_the_desk_speaks_for_the_administration_of_each_item(place, chikaya, dossier):
    await chikaya.write(*(dossier(slug, topic="administration.desk.inbox.v1") for slug in ("habous", "al-omrane")))
    async with Desk(*place.account("desk")) as desk:
        for item in await take(desk, 2):
            await item.acknowledge()
    decided = await chikaya.read("administration.desk.outbox.v1", 2)
    assert sorted(event.data.administration for event in decided) == ["al-omrane", "habous"]
    assert all(event.extensions == {"administration": event.data.administration} for event in decided)


async def test_nobody_reads_or_writes_for_another(place):
    async with Administration("ancfcc", *place.account("poste")) as intruder:
        with pytest.raises(NotAllowed):
            await take(intruder, 1)
        with pytest.raises(NotAllowed):
            await intruder.decide(Acknowledge(complaint_id="c", administration="ancfcc"))


async def test_no_broker_and_a_wrong_password_say_so(place):
    for bootstrap, password in (("127.0.0.1:23499", "x"), (place.bootstrap, "wrong")):
        with pytest.raises(Unavailable, match=bootstrap):
            async with Administration("cnss", bootstrap, "cnss", password):
                pass


async def test_outside_its_context_it_says_how_it_is_used(place):
    cnss = Administration("cnss", *place.account("cnss"))
    with pytest.raises(RuntimeError, match="async with"):
        await take(cnss, 1)
    with pytest.raises(RuntimeError, match="async with"):
        await cnss.decide(Acknowledge(complaint_id="c", administration="cnss"))


async def test_what_is_not_acknowledged_in_time_can_be_repeated(place, chikaya, monkeypatch):
    async with Administration("habous", *place.account("habous")) as habous:
        answer = Answer(complaint_id="c", administration="habous", text="C'est fait.")
        monkeypatch.setattr("chikaya_sdk.broker.DELIVERY_S", 0.2)
        with monkeypatch.context() as silent:
            silent.setattr(habous._producer, "send", lambda *_, **__: asyncio.Event().wait())
            with pytest.raises(Unavailable, match=r"not acknowledged within 0\.2 s") as caught:
                await habous.decide(answer, decision_id="d")
        assert caught.value.retry_after > 0
        monkeypatch.setattr("chikaya_sdk.broker.DELIVERY_S", 30)
        await habous.decide(answer, decision_id="d")
    assert [event.id for event in await chikaya.read("administration.habous.outbox.v1", 1)] == ["d"]
