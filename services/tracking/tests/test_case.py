"""The life of a complaint, sentence by sentence."""

from typing import Any

import pytest
from chikaya_contracts import legal_time, states
from chikaya_contracts.messages.lifecycle import CaseDeadlineBreached, CaseEvent, CaseRequestRefused
from chikaya_contracts.messages.requests import ClockReached
from chikaya_tracking.domain.case import CONDITIONS, NotAllowed, Rules, alarms, decide, event_id, evolve, fold
from chikaya_tracking.domain.case_file import CaseFile, consequences, receive, remembered
from hypothesis import given
from hypothesis import strategies as st

RULES = Rules()


def names(case: Any, cause: Any) -> Any:
    return [event.short_name() for event in decide(case, cause, RULES)]


def refused(case: Any, cause: Any) -> Any:
    with pytest.raises(NotAllowed) as no:
        decide(case, cause, RULES)
    return no.value.reason


# -- the straight way


def test_a_submission_gives_a_received_case_with_its_deadlines(make: Any) -> None:
    case = make.case()
    due = legal_time.deadlines(make.day(0))
    assert (case.state, case.sequence, case.holder) == ("received", 1, None)
    assert (case.relay_due, case.answer_due) == (due.relay, due.answer)


def test_a_complaint_goes_from_receipt_to_a_rated_answer(make: Any) -> None:
    file = make.file(make.submitted(), make.routed(), make.acknowledge(), make.start_work(), make.answer(), make.rate())
    assert make.names(file) == ["received", "routed", "acknowledged", "started", "answered", "rated"]
    assert [e.state for e in file.history] == [
        "received", "routed", "acknowledged", "in_progress", "answered", "closed",
    ]  # fmt: skip
    assert file.case.rating == 4
    assert set(file.texts.values()) == {"Le lampadaire est réparé."}


def test_an_answer_may_come_straight_after_the_relay(make: Any) -> None:
    assert make.case(make.routed(), make.answer()).state == "answered"


def test_triage_then_relay(make: Any) -> None:
    case = make.case(make.triaged(), make.routed(number=2, at=3))
    assert (case.state, case.holder, case.relayed_at) == ("routed", "onee", make.day(3))


def test_an_inadmissible_complaint_is_rejected_and_stays_so(make: Any) -> None:
    case = make.case(make.inadmissible())
    assert (case.state, case.holder) == ("rejected", None)
    assert refused(case, make.supplement()) == "state"


# -- questions


def test_the_clock_stands_while_the_citizen_is_asked(make: Any) -> None:
    asked = make.case(make.routed(), make.ask(at=4))
    assert [a.threshold for a in alarms(asked, RULES)] == []
    case = make.case(make.routed(), make.ask(at=4), make.reply(at=14))
    assert case.state == "in_progress"
    assert case.answer_due == legal_time.deadlines(make.day(0), [(make.day(4), make.day(14))]).answer
    assert case.answer_due > legal_time.deadlines(make.day(0)).answer


def test_a_question_of_triage_returns_to_triage(make: Any) -> None:
    case = make.case(make.triaged(), make.clarification(), make.reply())
    assert case.state == "triage"


def test_triage_may_decide_without_waiting_for_the_citizen(make: Any) -> None:
    case = make.case(make.triaged(), make.clarification(at=2), make.routed(number=3, at=5))
    assert (case.state, case.asked_by) == ("routed", None)
    assert case.pauses == ((make.day(2), make.day(5)),)


def test_routing_cannot_take_a_case_from_an_administration_that_asked_the_citizen(make: Any) -> None:
    case = make.case(make.routed(), make.ask())
    assert refused(case, make.routed("cnss", number=2, at=5)) == "state"


def test_an_administration_may_answer_without_waiting_for_the_citizen(make: Any) -> None:
    assert make.case(make.routed(), make.ask(), make.answer()).state == "answered"


# -- who may speak


def test_only_the_holder_may_answer(make: Any) -> None:
    assert refused(make.case(make.routed("onee")), make.answer(of="cnss")) == "not-holder"


def test_an_administration_cannot_speak_for_the_holder_through_its_own_topic(make: Any) -> None:
    assert refused(make.case(make.routed("onee")), make.answer(of="onee", topic="cnss")) == "not-holder"


def test_desk_speaks_for_the_administrations_it_serves(make: Any) -> None:
    assert names(make.case(make.routed("habous")), make.answer(of="habous", topic="desk")) == ["answered"]


def test_a_citizen_cannot_close_by_the_clock(make: Any) -> None:
    case = make.case(make.routed(), make.answer(at=5))
    early = make.clock("close", alarms(case, RULES)[0].due, at=6)
    assert decide(case, early, RULES) == []


# -- after the answer


def test_an_answered_case_can_be_reopened_once_within_the_delay(make: Any) -> None:
    answered = make.case(make.routed(), make.answer(at=5))
    assert names(answered, make.reopen(at=30)) == ["reopened"]
    again = make.case(make.routed(), make.answer(at=5), make.reopen(at=8), make.answer(at=20))
    assert refused(again, make.reopen(at=21)) == "already-reopened"


def test_it_is_too_late_to_reopen_after_the_delay(make: Any) -> None:
    assert refused(make.case(make.routed(), make.answer(at=5)), make.reopen(at=40)) == "too-late"


def test_a_reopened_case_has_a_full_term_again_with_the_same_holder(make: Any) -> None:
    case = make.case(make.routed(), make.answer(at=5), make.rate(at=6), make.reopen(at=8))
    assert (case.state, case.holder, case.rating) == ("reopened", "onee", None)
    assert case.answer_due == legal_time.deadlines(make.day(8)).answer


def test_an_answer_is_rated_once_and_the_next_answer_once_more(make: Any) -> None:
    case = make.case(make.routed(), make.answer(), make.rate())
    assert refused(case, make.rate(at=8)) == "already-rated"
    case = make.case(make.routed(), make.answer(), make.rate(), make.reopen(), make.answer(at=9))
    assert names(case, make.rate(at=10)) == ["rated"]


def test_a_withdrawn_case_refuses_what_comes_late(make: Any) -> None:
    case = make.case(make.routed(), make.withdraw())
    assert refused(case, make.answer()) == "withdrawn-meanwhile"
    assert refused(case, make.supplement(at=4)) == "state"


# -- the clock


def test_alarms_of_a_fresh_case_are_in_order(make: Any) -> None:
    case = make.case()
    assert [a.threshold for a in alarms(case, RULES)] == ["relay-breached", "answer-warned", "answer-breached"]


def test_a_relay_in_time_silences_its_alarm(make: Any) -> None:
    assert [a.threshold for a in alarms(make.case(make.routed()), RULES)] == ["answer-warned", "answer-breached"]


@pytest.mark.parametrize("threshold", ["relay-breached", "answer-breached"])
def test_a_breach_is_told_once(make: Any, threshold: Any) -> None:
    case = make.case()
    due = case.relay_due if threshold == "relay-breached" else case.answer_due
    [breach] = decide(case, make.clock(threshold, due, at=100), RULES)
    assert isinstance(breach, CaseDeadlineBreached)
    assert (breach.short_name(), breach.threshold, breach.due) == ("deadline-breached", threshold, due)
    assert decide(evolve(case, breach), make.clock(threshold, due, at=100), RULES) == []


def test_the_clock_cannot_run_ahead(make: Any) -> None:
    case = make.case()
    assert decide(case, make.clock("relay-breached", case.relay_due, at=14), RULES) == []


def test_an_alarm_of_a_deadline_that_has_moved_is_nothing(make: Any) -> None:
    before = make.case(make.routed())
    case = make.case(make.routed(), make.ask(at=4), make.reply(at=24))
    assert decide(case, make.clock("answer-breached", before.answer_due, at=65), RULES) == []


def test_a_warning_comes_ten_days_before_the_answer_is_due(make: Any) -> None:
    case = make.case(make.routed())
    at = (case.answer_due - make.start).days - 9
    [warned] = decide(case, make.clock("answer-warned", case.answer_due, at=at), RULES)
    assert warned.short_name() == "deadline-warned"
    assert decide(case, make.clock("answer-warned", case.answer_due, at=100), RULES) == []  # too late to warn


def test_what_comes_after_a_deadline_tells_the_breach_first(make: Any) -> None:
    case = make.case(make.routed())
    breach, answer = decide(case, make.answer(at=90), RULES)
    assert isinstance(breach, CaseDeadlineBreached)
    assert (breach.threshold, breach.sequence, answer.short_name(), answer.sequence) == (
        "answer-breached", 3, "answered", 4,
    )  # fmt: skip
    late, routed = decide(make.case(), make.routed(at=30), RULES)
    assert isinstance(late, CaseDeadlineBreached)
    assert (late.threshold, routed.short_name()) == ("relay-breached", "routed")


def test_an_answered_case_closes_after_thirty_days(make: Any) -> None:
    case = make.case(make.routed(), make.answer(at=5))
    [alarm] = alarms(case, RULES)
    assert names(case, make.clock("close", alarm.due, at=60)) == ["closed"]


def test_times_never_run_backwards(make: Any) -> None:
    file = make.file(make.submitted(at=0), make.routed(at=5), make.acknowledge(at=2))
    assert [e.at for e in file.history] == [make.day(0), make.day(5), make.day(5)]


# -- the table judges


def test_every_condition_of_the_table_is_known() -> None:
    assert {row.when for row in states.transitions()} == set(CONDITIONS)


ROADS: dict[str, list[tuple]] = {
    "received": [],
    "triage": [("triaged",)],
    "triage-after-transfer": [("routed",), ("transfer",), ("triaged", 2, 4)],
    "routed": [("routed",)],
    "acknowledged": [("routed",), ("acknowledge",)],
    "in_progress": [("routed",), ("acknowledge",), ("start_work",)],
    "waiting_for_citizen": [("routed",), ("ask",)],
    "waiting-for-triage": [("triaged",), ("clarification",)],
    "answered": [("routed",), ("answer",)],
    "closed": [("routed",), ("answer",), ("rate",)],
    "rejected": [("inadmissible",)],
    "transfer_requested": [("routed",), ("transfer",)],
    "reopened": [("routed",), ("answer",), ("reopen",)],
    "withdrawn": [("withdraw",)],
}
"""A case in each state, by every road that matters."""


def test_there_is_a_road_to_every_state(make: Any) -> None:
    assert {lived(make, [("submitted",), *road])[0].case.state for road in ROADS.values()} == set(states.states())


ASKED = {
    "routed": ("routing", lambda make: make.routed(number=9, at=9)),
    "triaged": ("routing", lambda make: make.triaged(number=9, at=9)),
    "rejected": ("routing", lambda make: make.inadmissible(number=9, at=9)),
    "question-asked": ("routing", lambda make: make.clarification(number=9, at=9)),
    "acknowledged": ("administration", lambda make: make.acknowledge(at=9)),
    "started": ("administration", lambda make: make.start_work(at=9)),
    "question-asked ": ("administration", lambda make: make.ask(at=9)),
    "answered": ("administration", lambda make: make.answer(at=9)),
    "transfer-requested": ("administration", lambda make: make.transfer(at=9)),
    "question-answered": ("citizen", lambda make: make.reply(at=9)),
    "question-answered ": ("agent", lambda make: make.reply(at=9, by="agent")),
    "supplemented": ("citizen", lambda make: make.supplement(at=9)),
    "withdrawn": ("agent", lambda make: make.withdraw(at=9, by="agent")),
    "rated": ("citizen", lambda make: make.rate(at=9)),
    "reopened": ("citizen", lambda make: make.reopen(at=9)),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("road", ROADS)
def test_every_state_allows_what_the_table_says_and_no_more(make: Any, road: Any, asked: Any) -> None:
    case = lived(make, [("submitted",), *ROADS[road]])[0].case
    by, cause = ASKED[asked][0], ASKED[asked][1](make)
    rows = [row for row in states.allowed(asked.strip(), case.state) if by in row.by]
    holds = by != "administration" or case.holder == "onee"
    taken = by == "routing" and case.asked_by == "administration"
    allowed = holds and not taken and any(CONDITIONS[row.when](case, make.day(9), RULES) is None for row in rows)
    if not allowed:
        refused(case, cause)
        return
    after = evolve(case, decide(case, cause, RULES)[-1])
    assert after.state in {case.state if row.to == "same" else row.to for row in rows}


# -- whatever happens


def steps() -> Any:
    at = st.floats(0, 120, allow_nan=False)
    who = st.sampled_from(["onee", "cnss"])
    number = st.integers(1, 4)
    return st.lists(
        st.one_of(
            st.tuples(st.just("submitted")),
            st.tuples(st.just("routed"), who, number, at),
            st.tuples(st.just("triaged"), number, at),
            st.tuples(st.just("inadmissible"), number, at),
            st.tuples(st.just("clarification"), number, at),
            *(st.tuples(st.just(kind), who, at) for kind in ("acknowledge", "start_work", "ask", "answer", "transfer")),
            *(st.tuples(st.just(kind), at) for kind in ("reply", "supplement", "withdraw", "rate", "reopen")),
            st.tuples(st.just("ring"), at),
        ),
        max_size=25,
    )


def lived(make: Any, script: Any) -> Any:
    """A file after a script, and the causes that made it; `ring` lets the clock say all that is due."""
    file, causes = CaseFile(make.complaint_id), []
    for name, *given_ in script:
        if name == "ring":
            due = alarms(file.case, RULES) if file.case else []
            now = [make.clock(a.threshold, a.due, at=given_[0]) for a in due]
        else:
            now = [getattr(make, name)(*given_)]
        for cause in now:
            file = receive(file, cause, RULES)
            causes.append(cause)
    return file, causes


@given(script=steps())
def test_whatever_happens_the_history_is_sound(make: Any, script: Any) -> None:
    file, _ = lived(make, [("submitted",), *script])
    assert [e.sequence for e in file.history] == list(range(1, len(file.history) + 1))
    assert len({event_id(e) for e in file.history}) == len(file.history)
    case = fold(file.history)
    assert case == file.case
    assert fold([*file.history, *file.history]) == case
    assert [e.at for e in file.history] == sorted(e.at for e in file.history)
    state = "start"
    for event in file.history:
        rows = states.allowed(event.short_name(), state)
        assert event.state in {state if row.to == "same" else row.to for row in rows}
        state = event.state


@given(script=steps())
def test_a_repeated_cause_changes_nothing_and_says_the_same(make: Any, script: Any) -> None:
    file, causes = lived(make, script)
    for cause in causes:
        if isinstance(cause.data, ClockReached) and not remembered(file, cause):
            continue  # it held nothing when it came: it is no repeat
        assert receive(file, cause, RULES) == file


@given(script=steps())
def test_every_refusal_and_every_event_has_been_said(make: Any, script: Any) -> None:
    """What a cause led to is published by it, or by the cause that let it in: nothing is kept silent."""
    file, causes = lived(make, script)
    said = {one.id for cause in causes for one in consequences(file, cause)}
    assert {event_id(e) for e in file.history} <= said


@given(script=steps())
def test_final_states_stay(make: Any, script: Any) -> None:
    file, _ = lived(make, [("submitted",), *script])
    final = None
    for event in file.history:
        if final:
            assert isinstance(event, CaseRequestRefused)
            assert event.state == final
        final = event.state if event.state in ("rejected", "withdrawn") else None


@given(script=steps())
def test_a_breach_is_never_told_twice_in_a_round(make: Any, script: Any) -> None:
    file, _ = lived(make, [("submitted",), *script])
    told: set[str] = set()
    for event in file.history:
        if event.short_name() == "reopened":
            told.discard("answer-breached")
        if isinstance(event, CaseDeadlineBreached):
            assert event.threshold not in told
            told.add(event.threshold)


@given(order=st.randoms(use_true_random=False))
def test_the_topics_may_arrive_in_any_order(make: Any, order: Any) -> None:
    """A submission and numbered decisions lead to the same case, however late they are."""
    causes = [make.submitted(), make.triaged(1, 1), make.clarification(2, 2), make.routed("onee", 3, 3)]
    straight = make.file(*causes)
    order.shuffle(causes)
    assert make.file(*causes).history == straight.history


def test_case_events_are_all_exercised() -> None:
    """The scripts above know every message that an event can follow from."""
    reached = {row.event for row in states.transitions()}
    made = {name.strip() for name in ASKED} | {
        "received", "closed", "deadline-warned", "deadline-breached", "request-refused",
    }  # fmt: skip
    assert reached == made
    assert {kind.short_name() for kind in CaseEvent.__subclasses__()} == made


# -- a replay keeps the legal time of its first time


def test_an_answer_that_was_in_time_is_not_late_when_it_is_replayed(make: Any) -> None:
    """It lay among the dead letters while the deadline passed, and comes with the time at which it was first sent."""
    file = make.file(make.submitted(), make.routed(), make.supplement(at=30), make.answer(at=10))
    assert make.names(file) == ["received", "routed", "supplemented", "answered"]
    assert file.case.answered_at == make.day(30)  # the history's times never run backwards


def test_an_answer_that_is_replayed_after_its_breach_was_told_still_counts(make: Any) -> None:
    open_case = make.case(make.routed())
    breach = make.clock("answer-breached", open_case.answer_due, at=70)
    file = make.file(make.submitted(), make.routed(), breach, make.answer(at=10), make.rate(at=71))
    assert make.names(file) == ["received", "routed", "deadline-breached", "answered", "rated"]
    assert [e.at for e in file.history] == sorted(e.at for e in file.history)
