"""What routing does with submissions, supplements and the life of cases, on fakes."""

from typing import Any

import pytest
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import consequence_id, new_id
from chikaya_contracts.messages.lifecycle import CaseQuestionAnswered, CaseTransferRequested, CaseWithdrawn
from chikaya_contracts.messages.requests import ComplaintSupplemented
from chikaya_contracts.messages.routing import ComplaintRouted, DossierForwarded
from chikaya_routing.consumers import UnknownComplaint
from chikaya_routing.domain.routing import Settlement

CNSS, ONEE, DESK = (topics.INBOX.named(name).name for name in ("cnss", "onee", "desk"))
ROUTED = topics.ROUTED.name


def happened(kind: type[Message], to: Event[Any], at: Any, **fields: Any) -> Event[Message]:
    about = {"complaint_id": to.data.complaint_id, "reference": to.data.reference, "sequence": 3, "at": at}
    state = {CaseWithdrawn: "withdrawn", CaseTransferRequested: "transfer_requested"}.get(kind, "triage")
    data = kind.model_validate({**about, "state": state, "cause": new_id(), **fields})
    return Event(new_id(), "/tracking", at, data, topics.LIFECYCLE.name, {}, "00-9-9-01")


def added(to: Event[Any], text: str, at: Any) -> Event[Message]:
    data = ComplaintSupplemented(complaint_id=to.data.complaint_id, at=at, text=text)
    return Event(new_id(), "/tracking", at, data, topics.SUPPLEMENTS.name)


def gives_back(to: Event[Any], at: Any, proposed: str | None) -> Event[Message]:
    return happened(CaseTransferRequested, to, at, proposed=proposed, text_id="t1")


async def test_every_dossier_is_acknowledged_before_any_decision_is_said(parts: Any) -> None:
    await parts.submit("routed cnss", "triage unsure", "routed habous", "inadmissible court")
    assert parts.said() == [
        (CNSS, "forwarded"),
        (DESK, "forwarded"),
        (ROUTED, "routed"),
        (ROUTED, "triaged"),
        (ROUTED, "routed"),
        (ROUTED, "inadmissible"),
    ]
    assert [event.extensions for event in parts.publisher.events[:2]] == [{}, {"administration": "habous"}]


async def test_nothing_is_said_of_a_dossier_that_was_not_acknowledged(parts: Any, make: Any) -> None:
    parts.publisher.fail = ConnectionError()
    event = make.submitted("routed cnss")
    with pytest.raises(ConnectionError):
        await parts.handlers.submitted([event])
    assert parts.publisher.events == []
    parts.publisher.fail = None
    await parts.handlers.submitted([event])
    assert parts.said() == [(CNSS, "forwarded"), (ROUTED, "routed")]
    assert len(parts.classifier.judged) == 1


async def test_ids_follow_from_the_submission(parts: Any) -> None:
    (event,) = await parts.submit("routed cnss")
    dossier, decision = parts.publisher.events
    assert dossier.id == consequence_id(event.id, DossierForwarded.TYPE, "1")
    assert decision.id == consequence_id(event.id, ComplaintRouted.TYPE, "1")
    assert {dossier.traceparent, decision.traceparent} == {"00-1-2-01"}


async def test_a_redelivered_submission_gives_all_its_decisions_again_and_is_classified_once(parts: Any) -> None:
    (event,) = await parts.submit("routed cnss")
    await parts.handlers.lifecycle([gives_back(event, parts.clock(), "onee")])
    first = list(parts.publisher.events)
    parts.publisher.events.clear()
    parts.rows["cnss"] = parts.rows["cnss"].model_copy(update={"own_system": False})
    await parts.handlers.submitted([event])
    assert parts.said() == [(CNSS, "forwarded"), (ONEE, "forwarded"), (ROUTED, "routed"), (ROUTED, "routed")]
    assert {one.id for one in parts.publisher.events} == {one.id for one in first}
    assert {one.id: one for one in first} == {one.id: one for one in parts.publisher.events}
    assert len(parts.classifier.judged) == 1


async def test_the_same_submission_twice_in_a_batch_is_one(parts: Any, make: Any) -> None:
    event = make.submitted("routed cnss")
    await parts.handlers.submitted([event, event])
    assert len(parts.publisher.events) == 2


async def test_of_two_instances_the_first_decision_stands(parts: Any, make: Any) -> None:
    event = make.submitted("routed cnss")
    other = make.Parts(store=parts.store, publisher=parts.publisher)
    race = parts.store.known

    async def late(ids: Any) -> Any:
        found = await race(ids)
        parts.store.known = race
        other.rows["cnss"] = other.rows["cnss"].model_copy(update={"own_system": False})
        await other.handlers.submitted([event])
        return found

    parts.store.known = late
    await parts.handlers.submitted([event])
    assert [topic for topic, kind in parts.said() if kind == "forwarded"] == [DESK, DESK]
    assert len({one.id for one in parts.publisher.events}) == 2


async def test_an_administration_that_is_not_in_force_goes_to_a_person(parts: Any) -> None:
    await parts.submit("routed gone")
    assert parts.said() == [(ROUTED, "triaged")]
    assert parts.publisher.events[0].data.reason == "administration-closed"


async def test_a_row_moves_an_administration_from_the_desk_to_its_own_topics(parts: Any, make: Any) -> None:
    await parts.submit("routed habous")
    parts.rows["habous"] = make.listed("habous", own_system=True)
    await parts.handlers.submitted([make.submitted("routed habous", 2)])
    dossiers = [one for one in parts.publisher.events if one.type == DossierForwarded.TYPE]
    assert [one.topic for one in dossiers] == [DESK, topics.INBOX.named("habous").name]
    assert [one.extensions for one in dossiers] == [{"administration": "habous"}, {}]


async def test_a_first_transfer_is_believed_and_a_second_one_goes_to_a_person(parts: Any) -> None:
    (event,) = await parts.submit("routed cnss")
    parts.publisher.events.clear()
    await parts.handlers.lifecycle([gives_back(event, parts.clock(), "onee")])
    assert parts.said() == [(ONEE, "forwarded"), (ROUTED, "routed")]
    assert parts.publisher.events[1].data.by == "transfer"
    assert parts.publisher.events[1].data.decision == 2
    parts.publisher.events.clear()
    again = gives_back(event, parts.clock(), "habous")
    await parts.handlers.lifecycle([again])
    await parts.handlers.lifecycle([again])
    assert parts.said() == [(ROUTED, "triaged")] * 2
    assert len({one.id for one in parts.publisher.events}) == 1
    item = await parts.triage.item(event.data.complaint_id)
    assert (item.status, item.complaint.proposed, item.complaint.holders) == ("triage", "habous", ("cnss", "onee"))


async def test_transfers_of_a_batch_are_decided_in_their_order_and_said_after_their_dossiers(parts: Any) -> None:
    first, second = await parts.submit("routed cnss", "routed cnss")
    parts.publisher.events.clear()
    at = parts.clock()
    batch = [gives_back(first, at, "onee"), gives_back(second, at, "habous"), gives_back(first, at, "habous")]
    await parts.handlers.lifecycle(batch)
    said = parts.said()
    assert said == [
        (ONEE, "forwarded"),
        (DESK, "forwarded"),
        (ROUTED, "routed"),
        (ROUTED, "triaged"),
        (ROUTED, "routed"),
    ]
    assert [one.data.decision for one in parts.publisher.events[2:]] == [2, 3, 2]
    once = {one.id for one in parts.publisher.events}
    await parts.handlers.lifecycle(batch)
    assert {one.id for one in parts.publisher.events} == once


async def test_who_loses_a_race_decides_a_transfer_on_what_has_become_of_the_complaint(parts: Any, make: Any) -> None:
    first, second = await parts.submit("routed cnss", "routed cnss")
    other = make.Parts(store=parts.store, publisher=parts.publisher)
    ours, theirs = gives_back(first, parts.clock(), "onee"), gives_back(first, parts.clock(), "habous")
    race = parts.store.known

    async def late(ids: Any) -> Any:
        found = await race(ids)
        parts.store.known = race
        await other.handlers.lifecycle([theirs])
        return found

    parts.store.known = late
    await parts.handlers.lifecycle([ours, gives_back(second, parts.clock(), "onee")])
    kept = await parts.store.known([first.data.complaint_id, second.data.complaint_id])
    assert [one.cause for one in kept[first.data.complaint_id].decisions][1:] == [theirs.id, ours.id]
    assert kept[first.data.complaint_id].decisions[-1].message.reason == "transfer"
    assert len(kept[second.data.complaint_id].decisions) == 2


@pytest.mark.parametrize("proposed", [None, "gone", "cnss"])
async def test_a_transfer_to_nobody_or_to_who_had_it_goes_to_a_person(parts: Any, proposed: str | None) -> None:
    (event,) = await parts.submit("routed cnss")
    await parts.handlers.lifecycle([gives_back(event, parts.clock(), proposed)])
    assert parts.said()[-1] == (ROUTED, "triaged")
    assert parts.publisher.events[-1].data.reason == "transfer"


async def test_a_transfer_of_an_unknown_complaint_is_no_silence(parts: Any, make: Any) -> None:
    with pytest.raises(UnknownComplaint):
        await parts.handlers.lifecycle([gives_back(make.submitted("routed cnss"), parts.clock(), None)])


async def test_what_the_citizen_adds_is_kept_once_and_is_tracking_s_to_tell(parts: Any, make: Any) -> None:
    early = make.submitted("routed cnss")
    more = added(early, "Et depuis hier, rien.", parts.clock())
    await parts.handlers.supplements([more, more])
    await parts.handlers.submitted([early])
    dossier = parts.publisher.events[0].data
    assert dossier.text == "routed cnss"
    await parts.handlers.supplements([added(early, "Plus tard.", parts.clock())])
    parts.publisher.events.clear()
    await parts.handlers.submitted([early])
    assert parts.publisher.events[0].data == dossier
    item = await parts.triage.item(early.data.complaint_id)
    assert [one.text for one in item.complaint.supplements] == ["Et depuis hier, rien.", "Plus tard."]


async def test_a_withdrawn_complaint_leaves_the_queue_even_if_it_was_withdrawn_first(parts: Any, make: Any) -> None:
    events = await parts.submit("triage unsure", "triage unsure")
    await parts.handlers.lifecycle([happened(CaseWithdrawn, events[0], parts.clock())])
    early = make.submitted("triage unsure", 3)
    await parts.handlers.lifecycle([happened(CaseWithdrawn, early, parts.clock())])
    await parts.handlers.submitted([early])
    items, _ = await parts.triage.queue(None)
    assert [item.complaint.id for item in items] == [events[1].data.complaint_id]


async def test_a_decision_that_rests_when_the_citizen_withdraws_is_never_published(parts: Any) -> None:
    (event,) = await parts.submit("triage unsure")
    await parts.triage.settle(event.data.complaint_id, "salma", Settlement("route", "cnss"))
    await parts.handlers.lifecycle([happened(CaseWithdrawn, event, parts.clock())])
    parts.clock.pass_(61)
    assert await parts.handlers.release() == 1
    assert await parts.handlers.release() == 0
    assert parts.said() == [(ROUTED, "triaged")]
    assert (await parts.triage.item(event.data.complaint_id)).status == "withdrawn"


async def test_an_answer_brings_a_complaint_back_once(parts: Any) -> None:
    (event,) = await parts.submit("triage place-missing")
    id_ = event.data.complaint_id
    await parts.triage.settle(id_, "salma", Settlement("ask", question="place"))
    parts.clock.pass_(61)
    await parts.handlers.release()
    assert await parts.triage.count() == (0, False)
    answer = happened(CaseQuestionAnswered, event, parts.clock(), text_id="t1", answer_due=parts.clock())
    await parts.handlers.lifecycle([answer])
    await parts.handlers.supplements([added(event, "À Rabat.", parts.clock())])
    item = await parts.triage.item(id_)
    assert (item.status, item.answered_at) == ("triage", parts.clock())
    await parts.triage.settle(id_, "salma", Settlement("ask", question="service"))
    await parts.handlers.lifecycle([answer])
    assert (await parts.triage.item(id_)).status == "waiting"
    parts.clock.pass_(61)
    await parts.handlers.release()
    await parts.triage.settle(id_, "salma", Settlement("route", "habous", note="Voir la deuxième phrase."))
    parts.clock.pass_(61)
    await parts.handlers.release()
    dossier = next(one.data for one in parts.publisher.events if one.type == DossierForwarded.TYPE)
    assert [one.text for one in item.complaint.supplements] == ["À Rabat."]
    assert (dossier.decision, dossier.by, dossier.note) == (4, "person", "Voir la deuxième phrase.")
    assert [one.data.decision for one in parts.publisher.events if one.topic == ROUTED] == [1, 2, 3, 4]
