"""What is parked, what is remembered, and who is told."""

from typing import Any

import pytest
from chikaya_contracts.messages.administration import DossierFollowUp
from chikaya_contracts.messages.requests import ComplaintSupplemented
from chikaya_tracking.domain import case_file
from chikaya_tracking.domain.case import Rules, objection_until
from chikaya_tracking.domain.case_file import CaseFile, TooMuchParked, consequences, receive

RULES = Rules()


# -- early


def test_what_comes_before_the_submission_waits_for_it(make: Any) -> None:
    early = make.file(make.withdraw(at=1))
    assert (early.case, early.history, len(early.parked)) == (None, (), 1)
    file, said = make.after(early, make.submitted())
    assert make.names(file) == ["received", "withdrawn"]
    assert make.lifecycle(said) == ["received", "withdrawn"]
    assert file.parked == ()


def test_a_decision_waits_for_the_one_before_it(make: Any) -> None:
    file, said = make.after(make.file(make.submitted()), make.routed(number=2, at=3))
    assert (file.case.state, said) == ("received", [])
    file, said = make.after(file, make.triaged(number=1))
    assert make.lifecycle(said) == ["triaged", "routed"]


def test_an_early_answer_waits_for_the_routed_decision(make: Any) -> None:
    file, said = make.after(make.file(make.submitted()), make.answer())
    assert (file.case.state, said) == ("received", [])
    file, said = make.after(file, make.routed())
    assert make.lifecycle(said) == ["routed", "answered"]


def test_an_early_answer_from_one_who_does_not_get_the_case_is_refused_with_a_record_for_both(make: Any) -> None:
    file = make.file(make.submitted(), make.answer(of="cnss"))
    file, said = make.after(file, make.routed("onee"))
    assert make.lifecycle(said) == ["routed", "request-refused"]
    assert (file.history[-1].by, file.history[-1].reason) == ("cnss", "not-holder")
    assert make.follow_ups(said) == [("cnss", "refused")]
    assert said[-1].inbox == "administration.cnss.inbox.v1"
    assert said[-1].data.reason == "not-holder"
    assert said[-1].data.request == "ma.chikaya.administration.answered.v1"


def test_who_was_let_in_is_said_again_when_the_one_that_let_it_in_is_repeated(make: Any) -> None:
    """The process may die between the write and the publication: only the last cause is delivered again."""
    answer, routed = make.answer(), make.routed()
    file = make.file(make.submitted(), answer, routed)
    assert make.lifecycle(consequences(file, routed)) == ["routed", "answered"]
    assert make.lifecycle(consequences(file, answer)) == ["answered"]


def test_too_many_of_our_own_messages_waiting_is_an_error(make: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(case_file, "MAX_PARKED", 3)
    file = make.file(*(make.supplement() for _ in range(3)))
    with pytest.raises(TooMuchParked):
        receive(file, make.supplement(), RULES)
    assert make.file(*(make.supplement() for _ in range(3)), make.submitted()).parked == ()


def test_too_many_early_decisions_of_an_administration_are_refused_with_a_record(make: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(case_file, "MAX_PARKED", 3)
    file = make.file(make.submitted(), *(make.acknowledge() for _ in range(3)))
    file, said = make.after(file, make.answer())
    assert (make.names(file), len(file.parked)) == (["received", "request-refused"], 3)
    assert make.follow_ups(said) == [("onee", "refused")]


def test_too_many_decisions_for_a_complaint_that_nobody_submitted_are_noted_once(make: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(case_file, "MAX_PARKED", 3)
    file = make.file(*(make.acknowledge() for _ in range(4)))
    assert (len(file.parked), file.overflowed) == (3, {"administration.onee.outbox.v1"})
    assert receive(file, make.answer(), RULES) is file
    assert len(make.file(*(make.acknowledge() for _ in range(3)), make.answer("cnss")).parked) == 4


# -- again


def test_a_repeat_says_the_same_with_the_same_ids(make: Any) -> None:
    withdraw = make.withdraw()
    file, first = make.after(make.file(make.submitted(), make.routed()), withdraw)
    again, second = make.after(file, withdraw)
    assert again is file
    assert second == first
    assert [type(one.data) for one in first][-1] is DossierFollowUp


def test_a_lower_decision_is_ignored_and_says_what_it_said(make: Any) -> None:
    file = make.file(make.submitted(), make.triaged(1), make.routed(number=2, at=3))
    after, said = make.after(file, make.routed("cnss", number=1))
    assert after is file
    assert make.lifecycle(said) == ["triaged"]


def test_the_same_submission_under_another_id_is_a_repeat(make: Any) -> None:
    file = make.file(make.submitted())
    after, said = make.after(file, make.submitted())
    assert after is file
    assert make.lifecycle(said) == ["received"]


def test_an_id_counts_within_its_topic_only(make: Any) -> None:
    first = make.acknowledge("onee")
    file = make.file(make.submitted(), make.routed(), first)
    request = make.supplement()
    same_id = make.event(request.data, request.topic, request.time, first.id)
    assert make.names(receive(file, same_id, RULES))[-1] == "supplemented"


def test_an_alarm_that_did_not_hold_can_hold_later(make: Any) -> None:
    """A question asked and answered the same day leaves the deadline where it was."""
    asked = make.file(make.submitted(), make.routed(), make.ask(at=4))
    alarm = make.clock("answer-breached", asked.case.answer_due, at=70)
    assert receive(asked, alarm, RULES) is asked
    file = receive(asked, make.reply(at=4.1), RULES)
    assert make.names(receive(file, alarm, RULES))[-1] == "deadline-breached"


# -- who is told


def told(make: Any, before: Any, cause: Any) -> Any:
    return make.follow_ups(make.after(make.file(make.submitted(), *before), cause)[1])


def test_the_holder_is_told_what_the_citizen_does(make: Any) -> None:
    held = [make.routed("onee")]
    assert told(make, held, make.supplement()) == [("onee", "supplemented")]
    assert told(make, held, make.withdraw()) == [("onee", "withdrawn")]
    assert told(make, [*held, make.ask()], make.reply()) == [("onee", "question-answered")]
    assert told(make, [*held, make.answer()], make.rate()) == [("onee", "rated")]
    assert told(make, [*held, make.answer()], make.reopen()) == [("onee", "reopened")]


def test_the_holder_is_told_of_deadlines_and_of_closing(make: Any) -> None:
    case = make.case(make.routed())
    assert told(make, [make.routed()], make.clock("answer-breached", case.answer_due, at=90)) == [
        ("onee", "deadline-breached")
    ]
    answered = [make.routed(), make.answer(at=5)]
    until = objection_until(make.case(*answered), RULES)
    assert told(make, answered, make.clock("close", until, at=60)) == [("onee", "closed")]


def test_words_go_with_the_follow_up_and_only_a_reference_into_the_history(make: Any) -> None:
    _, said = make.after(make.file(make.submitted(), make.routed()), make.supplement(text="Près de l'école."))
    event, follow_up = said
    assert "école" not in event.data.model_dump_json()
    assert follow_up.data.text == "Près de l'école."


def test_routing_is_sent_what_is_added_before_the_relay(make: Any) -> None:
    _, said = make.after(make.file(make.submitted()), make.supplement(text="Près de l'école."))
    assert [one.data.text for one in said if isinstance(one.data, ComplaintSupplemented)] == ["Près de l'école."]
    _, said = make.after(make.file(make.submitted(), make.triaged(), make.clarification()), make.reply())
    assert any(isinstance(one.data, ComplaintSupplemented) for one in said)
    _, said = make.after(make.file(make.submitted(), make.routed()), make.supplement())
    assert not any(isinstance(one.data, ComplaintSupplemented) for one in said)


def test_a_new_holder_is_sent_all_that_the_citizen_has_added(make: Any) -> None:
    before = [make.supplement(at=0.5, text="un"), make.routed("onee"), make.ask(), make.reply(), make.transfer(at=7)]
    _, said = make.after(make.file(make.submitted(), *before), make.routed("cnss", number=2, at=8))
    assert make.follow_ups(said) == [("onee", "transferred"), ("cnss", "supplemented"), ("cnss", "supplemented")]
    assert [one.data.text for one in said[2:]] == ["un", "Rue des Orangers."]
    assert len({one.id for one in said}) == len(said)
    assert said[2].inbox == "administration.cnss.inbox.v1"


# -- transfer


def test_the_old_holder_keeps_the_case_until_the_next_decision_applies(make: Any) -> None:
    file = make.file(make.submitted(), make.routed("onee"), make.transfer())
    assert (file.case.state, file.case.holder) == ("transfer_requested", "onee")
    file, said = make.after(file, make.routed("cnss", number=2, at=5))
    assert file.case.holder == "cnss"
    assert make.follow_ups(said) == [("onee", "transferred")]
    _, said = make.after(file, make.answer("onee", at=6))
    assert make.follow_ups(said) == [("onee", "refused")]


def test_an_answer_from_the_next_holder_before_its_decision_waits(make: Any) -> None:
    file = make.file(make.submitted(), make.routed("onee"), make.transfer(), make.answer("cnss", at=6))
    file, said = make.after(file, make.routed("cnss", number=2, at=5))
    assert make.lifecycle(said) == ["routed", "answered"]


def test_a_transfer_that_comes_back_tells_nobody_that_it_left(make: Any) -> None:
    file = make.file(make.submitted(), make.routed("onee"), make.transfer())
    file, said = make.after(file, make.routed("onee", number=2, at=5))
    assert (file.case.state, make.follow_ups(said)) == ("routed", [])


def test_a_transfer_that_ends_in_rejection_tells_the_old_holder(make: Any) -> None:
    before = [make.routed("onee"), make.transfer()]
    assert told(make, before, make.inadmissible(number=2, at=5)) == [("onee", "closed")]
    assert told(make, before, make.triaged(number=2, at=5, reason="transfer")) == [("onee", "transferred")]


# -- withdrawn meanwhile


def test_a_decision_for_a_case_withdrawn_meanwhile_is_recorded_and_the_administration_is_told(make: Any) -> None:
    file, said = make.after(make.file(make.submitted(), make.withdraw(at=1)), make.routed("onee", at=2))
    assert make.names(file) == ["received", "withdrawn", "request-refused"]
    assert (file.history[-1].reason, file.history[-1].by) == ("withdrawn-meanwhile", "routing")
    assert make.follow_ups(said) == [("onee", "withdrawn")]
    assert file.decisions == 1
    assert told(make, [make.withdraw(at=1)], make.triaged()) == []


def test_the_words_of_what_was_refused_are_not_kept(make: Any) -> None:
    file = make.file(make.submitted(), make.routed("onee"), make.answer("cnss"))
    assert dict(file.texts) == {}


def test_an_empty_file_is_nothing(make: Any) -> None:
    assert CaseFile(make.complaint_id).case is None
