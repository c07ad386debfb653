"""What a dossier amounts to: by what came, what was decided, what was refused; in whatever order it came."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any, get_args

import pytest
from chikaya_contracts import states
from chikaya_contracts.messages.administration import DossierFollowUp
from chikaya_desk.domain.dossier import (
    ACTIONS,
    MESSAGES,
    DossierFile,
    NotAllowed,
    State,
    decide,
    decision_id,
    message,
    receive,
    sent,
)


def test_a_dossier_is_worked_on_from_its_arrival_to_its_answer(make: Any) -> None:
    file = make.file(make.forwarded())
    assert file.standing.allowed == ("acknowledge", "start", "ask", "answer", "transfer")
    file = make.file(make.forwarded(), make.made("acknowledge"))
    assert (file.standing.state, file.standing.group) == ("acknowledged", "todo")
    assert make.state(make.forwarded(), make.made("acknowledge"), make.made("start")) == "in_progress"
    asked = make.file(make.forwarded(), make.made("ask", text="Quelle rue ?"))
    assert (asked.standing.state, asked.standing.group) == ("waiting_for_citizen", "waiting")
    answered = make.file(make.forwarded(), make.made("answer", text="C'est réparé."))
    assert (answered.standing.state, answered.standing.group, answered.standing.allowed) == ("answered", "done", ())


def test_the_citizens_reply_brings_it_back_with_a_later_deadline(make: Any) -> None:
    file = make.file(
        make.forwarded(), make.made("ask"), make.told("question-answered", 5, text="Agdal", answer_due=make.day(70))
    )
    assert (file.standing.state, file.standing.answer_due) == ("in_progress", make.day(70))


def test_a_deadline_never_moves_back(make: Any) -> None:
    file = make.file(make.forwarded(), make.told("deadline-breached", 5, answer_due=make.day(15)))
    assert file.standing.answer_due == make.day(60)


def test_a_reply_that_crosses_an_answer_does_not_undo_it(make: Any) -> None:
    steps = [make.forwarded(), make.made("ask"), make.made("answer"), make.told("question-answered", 5)]
    assert make.state(*steps) == "answered"


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("withdrawn", "withdrawn"), ("rated", "closed"), ("closed", "closed"), ("reopened", "reopened"),
        ("transferred", "transferred"), ("supplemented", "routed"), ("deadline-warned", "routed"),
        ("deadline-breached", "routed"), ("question-answered", "in_progress"),
    ],
)  # fmt: skip
def test_what_each_follow_up_makes_of_it(make: Any, kind: str, state: str) -> None:
    assert make.state(make.forwarded(), make.told(kind, 5)) == state


def test_every_kind_of_follow_up_is_taken_in(make: Any) -> None:
    for kind in get_args(DossierFollowUp.model_fields["kind"].annotation):
        assert make.state(make.forwarded(), make.told(kind, 5)) in get_args(State)


def test_only_transferred_is_a_state_that_the_case_does_not_have() -> None:
    assert set(get_args(State)) - set(states.states()) == {"transferred"}


def test_what_may_be_done_is_what_the_table_of_states_allows(make: Any) -> None:
    reopened = make.file(make.forwarded(), make.made("answer"), make.told("reopened", 6, answer_due=make.day(90)))
    assert reopened.standing.allowed == ("start", "ask", "answer")
    assert reopened.standing.answer_due == make.day(90)
    waiting = make.file(make.forwarded(), make.made("ask"))
    assert waiting.standing.allowed == ("answer",)


# -- refusals


def test_a_refused_decision_does_not_count_and_can_be_made_again(make: Any) -> None:
    answer = make.made("answer", text="Réparé.")
    file = make.file(make.forwarded(), make.made("start"), answer, make.refused("answered", 6))
    assert file.standing.state == "in_progress"
    assert "answer" in file.standing.allowed
    assert file.standing.refused[answer.id].reason == "state"
    again = make.made("answer", at=7, text="Réparé hier.")
    assert sent(decide(file, again), again.id).standing.state == "answered"


def test_a_refusal_names_the_latest_decision_of_its_kind(make: Any) -> None:
    first, second = make.made("ask", text="Où ?"), make.made("ask", at=4, text="Quand ?")
    file = make.file(
        make.forwarded(), first, make.told("question-answered", 5, at=3), second, make.refused("question-asked", 7)
    )
    assert list(file.standing.refused) == [second.id]
    assert file.standing.state == "in_progress"


def test_a_refusal_of_what_this_desk_did_not_send_is_kept_and_changes_nothing(make: Any) -> None:
    file = make.file(make.forwarded(), make.refused("answered", 6))
    assert (file.standing.state, file.standing.refused, len(file.entries)) == ("routed", {}, 2)


def test_an_answer_refused_for_a_withdrawal(make: Any) -> None:
    steps = [make.forwarded(), make.made("answer"), make.told("withdrawn", 5), make.refused("answered", 6)]
    assert make.state(*steps) == "withdrawn"


# -- repeats and order


def test_a_redelivered_event_changes_nothing(make: Any) -> None:
    events = [make.forwarded(id="d"), make.told("supplemented", 3, id="s"), make.told("rated", 4, id="r", score=4)]
    once = make.file(*events)
    assert make.file(*events, *events) == once
    assert receive(once, events[0]) is once


def test_the_same_event_of_the_case_under_another_id_is_told_once(make: Any) -> None:
    """As after a transfer and back: what was added is sent to the new holder, who knows it already."""
    file = make.file(make.forwarded(), make.told("question-answered", 5), make.told("supplemented", 5))
    assert len(file.entries) == 2


def test_follow_ups_before_their_dossier_wait_in_it(make: Any) -> None:
    early = make.file(make.told("withdrawn", 4))
    assert (early.standing, early.dossier) == (None, None)
    file = receive(early, make.forwarded())
    assert file.standing.state == "withdrawn"


def test_what_is_replayed_late_is_put_in_its_place(make: Any) -> None:
    events = [make.told("supplemented", 3), make.told("withdrawn", 6), make.told("question-answered", 4)]
    results = {
        tuple(entry.sequence for entry in make.file(make.forwarded(id="d"), *order).entries[1:])
        for order in permutations(events)
    }
    assert results == {(3, 4, 6)}


def test_a_dossier_that_comes_back_is_new_again(make: Any) -> None:
    steps = [make.forwarded(1), make.made("transfer"), make.told("transferred", 5, at=3), make.forwarded(3, at=4)]
    file = make.file(*steps)
    assert (file.standing.state, file.dossier.decision) == ("routed", 3)


def test_a_dossier_that_comes_back_before_we_hear_that_it_left_stays(make: Any) -> None:
    steps = [make.forwarded(1), make.made("transfer"), make.forwarded(3, at=4), make.told("transferred", 5, at=3)]
    assert make.state(*steps) == "routed"
    assert make.state(*steps, make.told("transferred", 9, at=6)) == "transferred"


def test_an_old_dossier_that_is_replayed_does_not_replace_the_new_one(make: Any) -> None:
    steps = [make.forwarded(3, at=4, text="La nouvelle."), make.made("start", at=5), make.forwarded(1, text="Ancienne")]
    file = make.file(*steps)
    assert (file.standing.state, file.dossier.text) == ("in_progress", "La nouvelle.")


# -- deciding


def test_what_the_state_forbids_is_not_allowed(make: Any) -> None:
    file = make.file(make.forwarded(), make.made("answer"))
    with pytest.raises(NotAllowed) as no:
        decide(file, make.made("start"))
    assert no.value.reason == "state"
    with pytest.raises(NotAllowed):
        decide(DossierFile("c", "habous"), make.made("start"))


def test_a_decision_counts_once_it_is_sent(make: Any) -> None:
    answer = make.made("answer")
    file = decide(make.file(make.forwarded()), answer)
    assert file.standing.state == "routed"
    assert sent(file, answer.id).standing.state == "answered"
    assert decide(file, answer) is file
    assert sent(sent(file, answer.id), answer.id) == sent(file, answer.id)


def test_one_colleague_at_a_time(make: Any) -> None:
    file = decide(make.file(make.forwarded()), make.made("answer", at=2))
    with pytest.raises(NotAllowed) as no:
        decide(file, make.made("ask", at=2))
    assert no.value.reason == "busy"
    later = replace(make.made("ask", at=2), at=make.day(2) + timedelta(minutes=1))
    assert decide(file, later).made(later.id) == later


def test_a_form_that_was_sent_is_not_sent_with_other_words(make: Any) -> None:
    file = make.file(make.forwarded(), make.made("ask", form="f", text="Où ?"), make.told("question-answered", 5))
    with pytest.raises(NotAllowed) as no:
        decide(file, make.made("ask", form="f", text="Quand ?"))
    assert no.value.reason == "used"


def test_a_form_that_did_not_leave_may_be_corrected(make: Any) -> None:
    file = decide(make.file(make.forwarded()), make.made("ask", form="f", text="Ou ?"))
    better = make.made("ask", form="f", text="Où ?")
    assert decide(file, better).made(better.id) == better


def test_the_same_words_by_the_same_form_are_one_decision() -> None:
    assert decision_id("f", "answer", "a", None) == decision_id("f", "answer", "a", None)
    different = {
        decision_id("f", "answer", "a", None), decision_id("g", "answer", "a", None),
        decision_id("f", "ask", "a", None), decision_id("f", "answer", "b", None),
        decision_id("f", "answer", "a", "oncf"),
    }  # fmt: skip
    assert len(different) == 5


def test_every_action_makes_its_message(make: Any) -> None:
    file = make.file(make.forwarded())
    for action in ACTIONS:
        made = replace(make.made(action, text="Parce que."), proposed="oncf")
        data = message(file, made)
        assert type(data) is MESSAGES[action]
        assert (data.administration, data.officer) == ("habous", "officer.habous@chikaya.local")
        assert ("text" in data.model_fields_set) == (action in ("ask", "answer", "transfer"))
        assert ("proposed" in data.model_fields_set) == (action == "transfer")


def test_late_is_after_the_deadline_while_the_clock_runs(make: Any) -> None:
    open_, asked = make.file(make.forwarded()), make.file(make.forwarded(), make.made("ask"))
    assert not open_.standing.late(make.day(60))
    assert open_.standing.late(make.day(61))
    assert not asked.standing.late(make.day(61))
    assert not make.file(make.forwarded(), make.made("answer")).standing.late(make.day(61))
