"""Who is told what: the table against the contracts, and the decision on every lifecycle event."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.messages import lifecycle, on
from chikaya_contracts.messages.lifecycle import CaseEvent
from chikaya_contracts.topics import LIFECYCLE
from chikaya_notification.domain import delivery
from chikaya_notification.domain.matrix import matrix
from chikaya_notification.domain.notices import Contact, addressed, leads_to_notices, notices
from chikaya_notification.domain.wording import texts

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
    made = notices(event, BOTH)
    assert {(one.notice, one.by): one.id for one in made} == expected
    assert notices(event, BOTH) == made
    assert {one.state for one in made} <= {"pending"}


def test_where_there_is_no_such_address_the_notice_is_skipped_for_that_reason(happened: Any) -> None:
    made = {one.by: one for one in notices(happened("received"), Contact("ar", phone="+212612345678"))}
    assert (made["email"].state, made["email"].reason) == ("skipped", "no-address")
    assert made["sms"].state == "pending"
    assert delivery.outcome(made["email"]).language == "ar"


def test_without_a_contact_notices_wait_and_then_are_what_they_would_have_been(happened: Any) -> None:
    event, contact = happened("routed"), Contact("ar", email="a@example.ma")
    waiting = notices(event, None)
    assert {one.state for one in waiting} == {"waiting"}
    assert [addressed(one, contact, event.data.at) for one in waiting] == notices(event, contact)


def test_a_complaint_relayed_a_second_time_is_told_so(happened: Any) -> None:
    first, again = happened("routed", 3, decision=2, relays=1), happened("routed", 5, decision=3, relays=2)
    assert not any(one.facts.again for one in notices(first, BOTH))
    assert all(one.facts.again for one in notices(again, BOTH))


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_an_event_older_than_the_fields_that_make_it_whole_still_gives_its_notices(happened: Any, name: str) -> None:
    event = happened(name, nature="suggestion", relays=2)
    optional = {"nature", "relay_due", "answer_due", "relays"} - {
        field for field, kind in type(event.data).model_fields.items() if kind.is_required()
    }
    old = replace(event, data=event.data.model_copy(update=dict.fromkeys(optional)))
    made = notices(old, BOTH)
    assert [one.id for one in made] == [one.id for one in notices(event, BOTH)]
    assert not any(one.facts.again for one in made)
    assert bool(made) == leads_to_notices(event.data)


def test_a_notice_is_tried_eight_times_over_hours_and_then_has_failed(happened: Any) -> None:
    notice = notices(happened("received"), BOTH)[0]
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
    notice = notices(happened("received"), BOTH)[0]
    with pytest.raises(ValueError):
        delivery.outcome(notice)
    assert delivery.outcome(delivery.sent(notice, notice.due)).TYPE == "ma.chikaya.notice.sent.v1"
    assert delivery.outcome(delivery.erased(notice, notice.due)).TYPE == "ma.chikaya.notice.skipped.v1"
    assert delivery.outcome(delivery.refused(notice, "550", notice.due)).TYPE == "ma.chikaya.notice.failed.v1"
    assert replace(notice, state="pending") == notice
