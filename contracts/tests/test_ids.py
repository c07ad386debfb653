"""Ids: what people start sorts by time; what follows from an event is the same each time."""

import time
import uuid

from chikaya_contracts import ids
from hypothesis import given
from hypothesis import strategies as st

IDS = st.uuids().map(str)


def test_new_ids_are_uuid_version_7_and_sort_by_time() -> None:
    made = [ids.new_id() for _ in range(2000)]
    assert {uuid.UUID(one).version for one in made} == {7}
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_a_new_id_holds_the_time() -> None:
    before = time.time_ns() // 1_000_000
    at = uuid.UUID(ids.new_id()).int >> 80
    assert before <= at <= time.time_ns() // 1_000_000


def test_a_consequence_has_the_same_id_in_every_release() -> None:
    made = ids.consequence_id("0190d6a4-0000-7000-8000-000000000001", "ma.chikaya.complaint.routed.v1", "1")
    assert made == "b7286eed-ec62-5eb6-b422-e0f0ffbb9b7e"
    assert uuid.UUID(made).version == 5


@given(IDS, IDS, st.sampled_from(["a.v1", "b.v1"]), st.sampled_from(["a.v1", "b.v1"]), st.text("12"), st.text("12"))
def test_consequences_are_equal_when_cause_type_and_target_are(
    cause: str, other: str, type_: str, other_type: str, target: str, other_target: str
) -> None:
    same = (cause, type_, target) == (other, other_type, other_target)
    assert (ids.consequence_id(cause, type_, target) == ids.consequence_id(other, other_type, other_target)) == same
    assert ids.consequence_id(cause, type_, target) == ids.consequence_id(cause, type_, target)
