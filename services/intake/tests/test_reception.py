"""Accepting: each submission once for its sender and key, in batches and in races."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from chikaya_intake.domain.acceptance import Complaint, Filing, Secrets
from chikaya_intake.domain.attachments import Links
from chikaya_intake.outbox import Outbox
from chikaya_intake.reception import (
    ARRIVED_AT_MOST,
    GROUP_AT_MOST,
    AttachmentsUnknown,
    KeyReused,
    Outcome,
    Reception,
    ReferenceTaken,
)
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.testing import RecordingPublisher
from hypothesis import given
from hypothesis import strategies as st

SECRETS = Secrets(b"a" * 32, b"v" * 32, Links(b"l" * 32, "http://intake.test"))
MakesFiling = Callable[..., Filing]

BATCHES = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["portal", "kiosk"]),
            st.sampled_from([None, "k1", "k2"]),
            st.sampled_from(["Une route coupée.", "Pas d'eau au douar."]),
        ),
        max_size=6,
    ),
    max_size=6,
)


@given(BATCHES, st.integers(1, 3))
def test_a_key_is_for_one_submission_and_gives_one_complaint(
    memory: Any, a_filing: MakesFiling, batches: list[list[tuple[str, str | None, str]]], processes: int
) -> None:
    async def history() -> list[tuple[Filing, Outcome]]:
        complaints, attachments = memory.Complaints(), memory.Attachments()
        clock = memory.Time()
        receptions = [
            Reception(
                Outbox(complaints, attachments, RecordingPublisher(), clock), complaints, attachments, SECRETS, clock, 5
            )
            for _ in range(processes)
        ]
        done: list[tuple[Filing, Outcome]] = []
        for number, batch in enumerate(batches):
            filings = [a_filing(channel=channel, key=key, text=text) for channel, key, text in batch]
            outcomes = await receptions[number % processes].accept_many(filings)
            done += zip(filings, outcomes, strict=True)
        assert {one.id for _, one in done if isinstance(one, Complaint)} == set(complaints.kept)
        return done

    done = asyncio.run(history())
    first: dict[object, tuple[str, str]] = {}
    for filing, outcome in done:
        text = filing.submission.text
        if filing.sender is None:
            assert isinstance(outcome, Complaint)
        elif filing.sender not in first:
            assert isinstance(outcome, Complaint)
            first[filing.sender] = (text, outcome.id)
        elif first[filing.sender][0] == text:
            assert isinstance(outcome, Complaint)
            assert outcome.id == first[filing.sender][1]
        else:
            assert outcome == KeyReused()
    given_out = {one.id: one.message.reference for _, one in done if isinstance(one, Complaint)}
    assert len(set(given_out.values())) == len(given_out)


def reception_of(stores: Any, memory: Any) -> Reception:
    clock = memory.Time()
    outbox = Outbox(stores[0], stores[1], RecordingPublisher(), clock)
    return Reception(outbox, stores[0], stores[1], SECRETS, clock, 5)


async def test_the_same_request_many_times_at_once_is_one_complaint(
    stores: Any, memory: Any, a_filing: MakesFiling
) -> None:
    receptions = [reception_of(stores, memory) for _ in range(3)]
    outcomes = await asyncio.gather(*(one.accept(a_filing(key="k")) for one in receptions for _ in range(5)))
    assert len({outcome.id for outcome in outcomes if isinstance(outcome, Complaint)}) == 1
    assert len(outcomes) == 15
    assert KeyReused() not in outcomes


async def test_the_same_receipt_after_a_restart(stores: Any, memory: Any, a_filing: MakesFiling) -> None:
    first = await reception_of(stores, memory).accept(a_filing(key="k", traceparent="00-1-2-01"))
    assert await reception_of(stores, memory).accept(a_filing(key="k")) == first


async def test_nothing_is_kept_while_the_store_is_away(parts: Any, a_filing: MakesFiling) -> None:
    parts.complaints.away = True
    with pytest.raises(DependencyDown):
        await parts.reception.accept(a_filing(key="k"))
    parts.complaints.away = False
    assert not parts.complaints.kept
    assert isinstance(await parts.reception.accept(a_filing(key="k")), Complaint)


async def uploaded(stores: Any, pieces: Any, memory: Any, id: str, channel: str = "portal") -> None:
    await stores[1].save(id, channel, f"{id}.pdf", "application/pdf", pieces(b"%PDF-", b"1.7"), memory.NOON)


async def test_a_complaint_has_its_attachments_in_the_order_named(
    stores: Any, memory: Any, pieces: Any, a_filing: MakesFiling
) -> None:
    for id_ in ("a", "b"):
        await uploaded(stores, pieces, memory, id_)
    complaint = await reception_of(stores, memory).accept(a_filing(attachments=["b", "a", "b"]))
    assert isinstance(complaint, Complaint)
    assert [(file.id, file.size) for file in complaint.message.attachments] == [("b", 8), ("a", 8)]


async def test_an_attachment_accompanies_one_complaint_of_its_own_channel(
    stores: Any, memory: Any, pieces: Any, a_filing: MakesFiling
) -> None:
    await uploaded(stores, pieces, memory, "mine")
    await uploaded(stores, pieces, memory, "free")
    await uploaded(stores, pieces, memory, "theirs", channel="kiosk")
    reception = reception_of(stores, memory)
    first = await reception.accept(a_filing(attachments=["mine"], key="k"))
    assert isinstance(first, Complaint)
    assert await reception.accept(a_filing(attachments=["mine"], key="k")) == first
    refused = await reception.accept(a_filing(attachments=["free", "mine", "theirs", "none"]))
    assert refused == AttachmentsUnknown(("mine", "theirs", "none"))
    assert isinstance(await reception.accept(a_filing(attachments=["free"])), Complaint)


async def test_a_retry_after_a_crash_finds_its_own_claim(
    stores: Any, memory: Any, pieces: Any, a_filing: MakesFiling
) -> None:
    await uploaded(stores, pieces, memory, "file")
    assert len(await stores[1].claim("portal", ["file"], "key k", memory.NOON - timedelta(hours=1))) == 1
    reception = reception_of(stores, memory)
    assert await reception.accept(a_filing(attachments=["file"], key="other")) == AttachmentsUnknown(("file",))
    assert isinstance(await reception.accept(a_filing(attachments=["file"], key="k")), Complaint)


async def test_of_complaints_that_name_one_attachment_at_once_one_has_it(
    stores: Any, memory: Any, pieces: Any, a_filing: MakesFiling
) -> None:
    await uploaded(stores, pieces, memory, "file")
    receptions = [reception_of(stores, memory) for _ in range(6)]
    outcomes = await asyncio.gather(*(one.accept(a_filing(attachments=["file"])) for one in receptions))
    assert sum(isinstance(outcome, Complaint) for outcome in outcomes) == 1


async def test_what_arrives_during_a_write_is_the_next_write(parts: Any, a_filing: MakesFiling) -> None:
    first = asyncio.create_task(parts.reception.accept(a_filing(key="0")))
    while not parts.complaints.listed:  # until its write is under way
        await asyncio.sleep(0)
    others = [parts.reception.accept(a_filing(key=str(number))) for number in range(1, 20)]
    batch = parts.reception.accept_many([a_filing(channel="kiosk", key=str(number)) for number in range(5)])
    one, of_batch, *of_others = await asyncio.gather(first, batch, *others)
    assert len({outcome.id for outcome in [one, *of_batch, *of_others]}) == 25
    assert parts.complaints.added == [1, 24]


async def test_a_group_is_bounded(parts: Any, a_filing: MakesFiling) -> None:
    await asyncio.gather(*(parts.reception.accept(a_filing()) for _ in range(2 * GROUP_AT_MOST + 1)))
    assert parts.complaints.added == [GROUP_AT_MOST, GROUP_AT_MOST, 1]


async def test_more_than_the_database_can_take_is_refused_at_once(parts: Any, a_filing: MakesFiling) -> None:
    waiting = [asyncio.create_task(parts.reception.accept(a_filing())) for _ in range(ARRIVED_AT_MOST)]
    await asyncio.sleep(0)
    with pytest.raises(DependencyDown, match="keep up"):
        await parts.reception.accept(a_filing())
    assert len({outcome.id for outcome in await asyncio.gather(*waiting)}) == ARRIVED_AT_MOST
    assert isinstance(await parts.reception.accept(a_filing()), Complaint)


async def test_a_write_in_doubt_harms_only_who_is_in_it(parts: Any, a_filing: MakesFiling) -> None:
    parts.complaints.dies = {"add": "after"}
    first = asyncio.create_task(parts.reception.accept(a_filing(key="0")))
    while not parts.complaints.added:
        await asyncio.sleep(0)
    parts.complaints.dies = {}
    second = await parts.reception.accept(a_filing(key="1"))
    with pytest.raises(DependencyDown):
        await first
    assert isinstance(second, Complaint)


async def test_one_filing_that_cannot_be_kept_harms_no_neighbour(parts: Any, a_filing: MakesFiling) -> None:
    await parts.reception.accept(a_filing())
    parts.complaints.given.clear()  # the counter is lost: a process that starts now gives references again
    _, reception = parts.process()
    bad, good = await asyncio.gather(
        reception.accept(a_filing()), reception.accept(a_filing(key="k")), return_exceptions=True
    )
    assert isinstance(bad, ReferenceTaken)
    assert isinstance(good, Complaint)


async def test_who_goes_away_takes_nobody_along(parts: Any, a_filing: MakesFiling) -> None:
    gone, stays = (asyncio.create_task(parts.reception.accept(a_filing())) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert isinstance(await stays, Complaint)


async def test_a_repeated_key_uses_up_no_reference(parts: Any, a_filing: MakesFiling) -> None:
    first = await parts.reception.accept(a_filing(key="k"))
    for _ in range(5):
        assert await parts.reception.accept(a_filing(key="k")) == first
    following = await parts.reception.accept(a_filing())
    assert int(following.message.reference[4:12]) == int(first.message.reference[4:12]) + 1
