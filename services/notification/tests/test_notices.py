"""Who is told what: the table against the contracts, and the decision on every lifecycle event."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from chikaya_contracts.envelope import Event
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.messages import lifecycle, on
from chikaya_contracts.messages.lifecycle import CaseEvent
from chikaya_contracts.topics import LIFECYCLE
from chikaya_notification.domain import delivery
from chikaya_notification.domain.matrix import matrix
from chikaya_notification.domain.notices import Contact, Told, addressed, changes_words, leads_to_notices, notices
from chikaya_notification.domain.wording import texts
from hypothesis import given
from hypothesis import strategies as st

EVENTS = {model.short_name() for model in on(LIFECYCLE).values() if issubclass(model, CaseEvent)}
BOTH = Contact("fr", "a@example.ma", "+212612345678")


def test_every_lifecycle_event_is_in_the_table_or_silent_for_a_reason() -> None:
    told, silent = {row.event for row in matrix().notices}, matrix().silent
    assert told | silent.keys() == EVENTS
    assert not told & silent.keys()
    assert all(reason.strip() for reason in silent.values())


def test_every_row_has_words_and_all_words_have_a_row() -> None:
    assert {row.notice for row in matrix().notices} == texts()["notices"].keys()


def test_the_table_repeats_no_row_and_no_means() -> None:
    rows = [(row.event, row.notice, by) for row in matrix().notices for by in row.by]
    assert len(rows) == len(set(rows))


def test_every_rejection_and_every_question_of_triage_has_words() -> None:
    asked = lifecycle.CaseQuestionAsked.model_fields["question"].annotation
    assert texts()["rejections"].keys() == set(get_args(lifecycle.RejectionReason))
    assert texts()["questions"].keys() == set(get_args(get_args(asked)[0]))


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_an_event_gives_its_rows_by_each_means_with_ids_that_stay(happened: Any, name: str) -> None:
    event = happened(name)
    expected = {
        (row.notice, by): consequence_id(event.id, row.notice, by) for row in matrix().after(name) for by in row.by
    }
    made = notices(event, Told(), BOTH)
    assert {(one.notice, one.by): one.id for one in made} == expected
    assert notices(event, Told(), BOTH) == made
    assert {one.state for one in made} <= {"pending"}


def test_where_there_is_no_such_address_the_notice_is_skipped_for_that_reason(happened: Any) -> None:
    made = {one.by: one for one in notices(happened("received"), Told(), Contact("ar", phone="+212612345678"))}
    assert (made["email"].state, made["email"].reason) == ("skipped", "no-address")
    assert made["sms"].state == "pending"
    assert delivery.outcome(made["email"]).language == "ar"


def test_without_a_contact_notices_wait_and_then_are_what_they_would_have_been(happened: Any) -> None:
    event, contact = happened("routed"), Contact("ar", email="a@example.ma")
    waiting = notices(event, Told(), None)
    assert {one.state for one in waiting} == {"waiting"}
    assert [addressed(one, contact, event.data.at) for one in waiting] == notices(event, Told(), contact)


def test_a_complaint_relayed_a_second_time_is_told_so(happened: Any) -> None:
    first, again = happened("routed", 3, decision=2), happened("routed", 5, decision=3)
    told = Told().after(happened("received", 1).data).after(happened("triaged", 2).data)
    assert not any(one.facts.again for one in notices(first, told, BOTH))
    told = told.after(first.data).after(happened("transfer-requested", 4).data)
    assert all(one.facts.again for one in notices(again, told, BOTH))


def test_deadlines_follow_the_latest_event_that_moves_them(happened: Any) -> None:
    told = Told()
    for sequence, name in enumerate(["received", "routed", "question-asked", "question-answered"], 1):
        told = told.after(happened(name, sequence).data)
    assert told.answer_due == happened("question-answered").data.answer_due
    assert told.relay_due == happened("received").data.relay_due
    reopened = happened("reopened", 6)
    assert notices(reopened, told, BOTH)[0].facts.answer_due == reopened.data.answer_due


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=12))
def test_what_has_been_said_can_be_read_from_the_latest_notice_and_what_has_changed_since(names: list[str]) -> None:
    told = read = Told()
    for event in _history(names):
        made = notices(Event(f"e{event.sequence}", "/tracking", event.at, event, LIFECYCLE.name), told, BOTH)
        told = told.after(event)
        if made:
            read = Told.with_notice(made[0])
        elif changes_words(event):
            read = told
        assert replace(read, sequence=told.sequence) == told
        assert bool(made) == leads_to_notices(event)


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=12), st.data())
def test_counting_an_earlier_part_of_the_history_in_again_changes_nothing(
    names: list[str], data: st.DataObject
) -> None:
    history = _history(names)
    told = Told()
    for event in history:
        told = told.after(event)
    again = told
    for event in history[: data.draw(st.integers(0, len(names)))]:
        again = again.after(event)
    assert again == told


def _history(names: list[str]) -> list[CaseEvent]:
    at = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
    common = {"complaint_id": "c", "reference": "r", "cause": "x", "text_id": "t", "decision": 1, "score": 3}
    more = {"channel": "portal", "nature": "suggestion", "language": "fr", "due": at, "relay_due": at}
    request = {"request": "r", "by": "citizen", "threshold": "close", "asked_by": "administration"}
    reasons = {"triaged": "unsure", "rejected": "court", "request-refused": "state"}
    models = {model.short_name(): model for model in on(LIFECYCLE).values() if issubclass(model, CaseEvent)}
    return [
        models[name].model_validate(
            {
                **common,
                **more,
                **request,
                "reason": reasons.get(name),
                "sequence": number,
                "at": at,
                "state": "routed",
                "answer_due": at + timedelta(days=number),
            }
        )
        for number, name in enumerate(names, 1)
    ]


def test_a_notice_is_tried_eight_times_over_hours_and_then_has_failed(happened: Any) -> None:
    notice = notices(happened("received"), Told(), BOTH)[0]
    at = began = notice.due
    for _ in range(7):
        notice = delivery.deferred(notice, "451", at)
        assert notice.state == "pending"
        assert notice.due > at
        at = notice.due
    notice = delivery.deferred(notice, "451", at)
    assert (notice.state, notice.attempts) == ("failed", 8)
    assert timedelta(hours=12) < at - began < timedelta(hours=24)
    assert delivery.outcome(notice).model_dump()["attempts"] == 8


def test_a_notice_that_has_not_ended_has_no_outcome(happened: Any) -> None:
    notice = notices(happened("received"), Told(), BOTH)[0]
    with pytest.raises(ValueError):
        delivery.outcome(notice)
    assert delivery.outcome(delivery.sent(notice, notice.due)).TYPE == "ma.chikaya.notice.sent.v1"
    assert delivery.outcome(delivery.erased(notice, notice.due)).TYPE == "ma.chikaya.notice.skipped.v1"
    assert delivery.outcome(delivery.refused(notice, "550", notice.due)).TYPE == "ma.chikaya.notice.failed.v1"
    assert replace(notice, state="pending") == notice
