"""The audit of a fault run sees what is lost, doubled or out of order, and forgives what is the same again."""

from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, encode
from chikaya_contracts.messages.routing import ComplaintRouted
from chikaya_local.faults.audit import Verdict, audit, dead_letters
from chikaya_local.faults.journeys import Decided, Happened, Journey, Told, Trail, journeys
from chikaya_local.faults.witness import OFFSETS, Place, Witness, read_commit

HISTORY = [
    Happened(1, "received", "received", "e1"),
    Happened(2, "routed", "routed", "e2"),
    Happened(3, "acknowledged", "acknowledged", "e3"),
    Happened(4, "answered", "answered", "e4"),
    Happened(5, "rated", "closed", "e5"),
]
EMAIL, RECEIPT = "citoyen@example.ma", ("c1", "20260000012345")


def journey() -> Journey:
    """A complaint by the kiosk that has gone its whole way."""
    outcomes = [Told(event, by, result) for event in ("e1", "e2", "e4") for by, result in MEANS]
    trail = Trail(
        submitted={"s1"},
        decisions={"d1": Decided(1, "routed", "cnss")},
        dossiers={"f1": "cnss"},
        history=[*HISTORY],
        outcomes={f"o{number}": outcome for number, outcome in enumerate(outcomes)},
    )
    whole = Journey("k1", "kiosk", "cnss", False, "{}", EMAIL, None, complaint_id="c1", reference=RECEIPT[1])
    whole.acknowledged_at, whole.trail = 1.0, trail
    return whole


MEANS = (("email", "sent"), ("sms", "skipped"))


def checked(one: Journey, **changed: Any) -> Verdict:
    found: dict[str, Any] = {
        "tracked": {RECEIPT[1]: "c1"},
        "letters": {EMAIL: {"m1": 1, "m2": 1, "m3": 1}},
        "receipts": {"k1": {"r1": RECEIPT}},
        "outcomes_due": True,
    }
    return audit([one], **(found | changed))


def test_a_whole_journey_has_nothing_wrong() -> None:
    assert checked(journey()) == Verdict()


LOST: dict[str, Callable[[Trail], object]] = {
    "the submission": lambda trail: trail.submitted.clear(),
    "the decision": lambda trail: trail.decisions.clear(),
    "the dossier": lambda trail: trail.dossiers.clear(),
    "the last event": lambda trail: trail.history.pop(),
    "an outcome": lambda trail: trail.outcomes.popitem(),
}


@pytest.mark.parametrize("lose", LOST.values(), ids=LOST)
def test_what_is_missing_is_lost(lose: Callable[[Trail], object]) -> None:
    one = journey()
    lose(one.trail)
    verdict = checked(one)
    assert verdict.lost.keys() == {"c1"}


@pytest.mark.parametrize("changed", [{"tracked": {}}, {"letters": {}}, {"receipts": {}}], ids=str)
def test_what_a_store_does_not_have_is_lost(changed: dict[str, Any]) -> None:
    assert checked(journey(), **changed).lost.keys() == {"c1"}


DOUBLED: dict[str, Callable[[Trail], object]] = {
    "the submission": lambda trail: trail.submitted.add("s2"),
    "the decision": lambda trail: trail.decisions.update(d2=Decided(2, "routed", "cnss")),
    "the dossier": lambda trail: trail.dossiers.update(f2="cnss"),
    "an event": lambda trail: trail.history.append(Happened(6, "rated", "closed", "e6")),
    "an outcome": lambda trail: trail.outcomes.update(o9=Told("e1", "email", "sent")),
}


@pytest.mark.parametrize("double", DOUBLED.values(), ids=DOUBLED)
def test_what_took_effect_twice_is_doubled(double: Callable[[Trail], object]) -> None:
    one = journey()
    double(one.trail)
    assert checked(one).doubled.keys() == {"c1"}


def test_a_notice_under_two_ids_is_doubled_and_one_sent_again_under_its_own_is_a_repeat() -> None:
    assert checked(journey(), letters={EMAIL: {"m1": 1, "m2": 1, "m3": 1, "m4": 1}}).doubled
    again = checked(journey(), letters={EMAIL: {"m1": 2, "m2": 1, "m3": 1}})
    assert (again.doubled, again.repeats) == ({}, 1)


def test_a_gap_and_a_state_that_cannot_follow_are_out_of_order() -> None:
    gap, illegal = journey(), journey()
    gap.trail.history[4] = Happened(6, "rated", "closed", "e5")
    illegal.trail.history[2] = Happened(3, "acknowledged", "routed", "e3")
    assert checked(gap).disordered
    assert checked(illegal).disordered


def test_an_event_that_was_overtaken_on_its_topic_is_counted_apart() -> None:
    one = journey()
    one.trail.history[0], one.trail.history[2] = one.trail.history[2], one.trail.history[0]
    verdict = checked(one)
    assert (verdict.disordered, verdict.overtaken) == ({}, 2)


def test_each_undecodable_record_and_nothing_else_is_set_aside() -> None:
    bad, good = Place("outbox", 0, 7), Place("outbox", 0, 8)
    assert dead_letters({bad: 2}, [bad]) == Verdict(copies=1)
    assert dead_letters({}, [bad]).lost
    assert dead_letters({good: 1}, []).lost


def test_a_record_that_comes_again_is_a_copy() -> None:
    said: list[str] = []
    witness = Witness({}, [topics.ROUTED], said.append)
    routed = ComplaintRouted(
        complaint_id="c1", decision=1, decided_at="2026-01-01T00:00:00Z", by="model", administration="cnss", inbox="i"
    )
    _, key, value, headers = encode(Event("d1", "/routing", routed.decided_at, routed, topics.ROUTED.name))
    for offset in range(2):
        witness.note(ConsumerRecord(topics.ROUTED.name, 0, offset, 0, 0, key, value, None, 0, 0, tuple(headers)))
    trail = witness.trails["c1"]
    assert (trail.copies, trail.decisions) == (1, {"d1": Decided(1, "routed", "cnss")})
    assert said == ["c1", "c1"]


def test_lag_is_what_was_written_and_not_committed() -> None:
    witness = Witness({}, [topics.ROUTED], lambda _: None)
    key = b"\x00\x01" + b"\x00\x0etracking.cases" + b"\x00\x14complaints.routed.v1" + b"\x00\x00\x00\x02"
    value = b"\x00\x03" + (7).to_bytes(8) + b"\xff\xff\xff\xff"
    witness.note(ConsumerRecord(OFFSETS, 0, 0, 0, 0, key, value, None, 0, 0, ()))
    assert read_commit(key, value) == ("tracking.cases", TopicPartition("complaints.routed.v1", 2), 7)
    assert read_commit(key, None) is None
    witness.read_to(TopicPartition("complaints.routed.v1", 2), 10)
    witness.read_to(TopicPartition("complaints.routed.v1", 3), 10)
    assert witness.lag == 3


def test_the_same_seed_files_the_same_complaints() -> None:
    first, again, other = journeys(1, "000001"), journeys(1, "000001"), journeys(2, "000001")
    mix = [next(first) for _ in range(200)]
    assert mix == [next(again) for _ in range(200)] != [next(other) for _ in range(200)]
    assert len({to for one in mix for to in one.means.values()}) == sum(len(one.means) for one in mix)
    assert {one.way for one in mix} == {"app", "kiosk"}
    assert any(one.administration is None for one in mix)
