"""The senders: what is due goes out once; refusals, delays, servers that are away, crashes and goodbyes."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from chikaya_notification.consumers import Handlers
from chikaya_notification.domain.delivery import Away, Deferred, Refused
from chikaya_notification.domain.wording import Name
from chikaya_notification.names import Names
from chikaya_notification.outcomes import Outcomes
from chikaya_notification.sending import BATCH, IN_HAND, Sender
from chikaya_servicekit.faults import DependencyDown

LEASE = timedelta(minutes=1)
SENT = "ma.chikaya.notice.sent.v1"


class Killed(BaseException):
    """Stands for the end of the process."""


class Server:
    """Takes notices, or raises `fails[notice id]` or `fail`; keeps what it took in `taken`."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.names: list[Name | None] = []
        self.addresses: set[str] = set()
        self.asked = 0
        self.fail: Exception | None = None
        self.fails: dict[str, Exception] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = self.most_at_once = 0

    async def take(self, notice: Any, language: str, address: str, name: Name | None) -> None:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            if error := self.fails.get(notice.id, self.fail):
                raise error
        finally:
            self.at_once -= 1
        self.taken.append(notice.id)
        self.names.append(name)
        self.addresses.add(address)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def make(memory: Any, names: Any, publisher: Any, clock: Any, server: Server) -> Callable[..., Sender]:
    """Makes the sender of one more instance."""

    def make(lease: timedelta = LEASE) -> Sender:
        again = Outcomes(memory, publisher, clock)
        return Sender("email", server.take, memory, Names(names, clock), again, clock, 4, lease, (DependencyDown,))

    return make


@pytest.fixture
def sender(make: Callable[..., Sender]) -> Sender:
    return make()


@pytest.fixture
def due(memory: Any, names: Any, outcomes: Any, clock: Any, submitted: Any, happened: Any) -> Any:
    """Makes that many e-mails due; offered to a sender, where one is given."""
    made = count()

    async def make(number: int, sender: Sender | None = None, **more: Any) -> list[str]:
        handlers = Handlers(memory, names, outcomes, clock, {"email": sender} if sender else {})
        ids = [f"c{next(made)}" for _ in range(number)]
        await handlers.happened([submitted(id, email=f"{id}@example.com") for id in ids])
        await handlers.happened([happened("routed", 1, id, **more) for id in ids])
        return [one.id for one in memory.notices.values() if one.by == "email" and one.complaint_id in ids]

    return make


def states(memory: Any) -> Counter[str]:
    return Counter(one.state for one in memory.notices.values() if one.by == "email")


async def test_what_is_due_is_sent_once_and_said(
    sender: Sender, due: Any, server: Server, memory: Any, names: Any, publisher: Any
) -> None:
    names.names["cnss"] = Name("Caisse", "الصندوق")
    ids = await due(20)
    publisher.events.clear()
    await sender.send_due()
    await sender.send_due()
    assert sorted(server.taken) == sorted(ids)
    assert states(memory) == {"sent": 20}
    assert set(server.names) == {Name("Caisse", "الصندوق")}
    assert server.addresses == {f"c{number}@example.com" for number in range(20)}
    assert server.most_at_once == 4
    assert {event.type for event in publisher.events} == {"ma.chikaya.notice.sent.v1"}
    assert len({event.id for event in publisher.events}) == 20
    assert memory.unsaid == set()


async def test_a_refusal_ends_that_notice_alone(
    sender: Sender, due: Any, server: Server, memory: Any, publisher: Any
) -> None:
    ids = await due(3)
    publisher.events.clear()
    server.fails[ids[1]] = Refused("the mail server answered 550 5.1.1")
    await sender.send_due()
    assert states(memory) == {"sent": 2, "failed": 1}
    [failed] = [event.data for event in publisher.events if event.type == "ma.chikaya.notice.failed.v1"]
    assert (failed.reason, failed.attempts) == ("the mail server answered 550 5.1.1", 1)
    assert "@" not in failed.reason


@pytest.mark.parametrize("error", [Deferred("451"), RuntimeError("a@example.com: our own mistake")])
async def test_what_may_pass_is_tried_again_when_it_is_due_and_a_bounded_number_of_times(
    error: Exception, sender: Sender, due: Any, server: Server, memory: Any, clock: Any, publisher: Any
) -> None:
    await due(1)
    publisher.events.clear()
    server.fail = error
    began = clock.now
    while states(memory) == {"pending": 1} and clock.now - began < timedelta(days=3):
        await sender.send_due()
        await sender.send_due()
        clock.now += timedelta(minutes=1)
    assert server.asked == 8
    assert states(memory) == {"failed": 1}
    [said] = publisher.events
    assert said.data.attempts == 8
    assert "@" not in said.data.reason


async def test_one_that_is_tried_again_with_success_says_how_often(
    sender: Sender, due: Any, server: Server, clock: Any, publisher: Any
) -> None:
    await due(1)
    server.fail = Deferred("451")
    await sender.send_due()
    server.fail = None
    clock.now += timedelta(minutes=2)
    await sender.send_due()
    assert publisher.events[-1].data.attempts == 2


async def test_a_server_that_is_away_costs_no_try_and_keeps_every_notice(
    sender: Sender, due: Any, server: Server, memory: Any, clock: Any
) -> None:
    await due(30)
    server.fail = Away("mail server: SMTPConnectError")
    for _ in range(50):
        await sender.send_due()
        clock.now += timedelta(hours=1)
    assert sender.held_by == "mail server: SMTPConnectError"
    assert server.asked <= 4 + 50, "then one at a time"
    assert states(memory) == {"pending": 30}
    server.fail = None
    await sender.send_due()
    assert states(memory) == {"sent": 30}
    assert {one.attempts for one in memory.notices.values() if one.by == "email"} == {1}
    assert sender.held_by == ""


async def test_the_loop_probes_a_server_that_is_away_with_one_notice_and_goes_on_when_it_is_back(
    sender: Sender, due: Any, server: Server, memory: Any
) -> None:
    await due(10)
    server.fail = Away("away")
    loop = asyncio.create_task(sender.run())
    while server.asked < 6:
        await asyncio.sleep(0.01)
    assert sender.held_by == "away"
    server.fail = None
    async with asyncio.timeout(10):
        while states(memory) != {"sent": 10}:
            await asyncio.sleep(0.01)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def test_the_loop_wakes_at_once_and_takes_more_than_a_batch(
    sender: Sender, due: Any, memory: Any, server: Server
) -> None:
    loop = asyncio.create_task(sender.run())
    await asyncio.sleep(0.05)
    await due(BATCH * 2 + 3)
    sender.look()
    async with asyncio.timeout(0.9):
        while states(memory) != {"sent": BATCH * 2 + 3}:
            await asyncio.sleep(0.01)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def test_told_to_leave_it_ends_what_is_under_way_and_gives_back_the_rest(
    sender: Sender, due: Any, server: Server, memory: Any, clock: Any
) -> None:
    await due(10)
    server.gate.clear()
    loop = asyncio.create_task(sender.run())
    while server.at_once < 4:
        await asyncio.sleep(0.01)
    loop.cancel()
    await asyncio.sleep(0.05)
    server.gate.set()
    await asyncio.gather(loop, return_exceptions=True)
    assert states(memory) == {"sent": 4, "pending": 6}
    assert {one.due for one in memory.notices.values() if one.state == "pending"} == {clock.now}


@pytest.mark.parametrize("in_hand", [True, False], ids=["from memory", "from the store"])
@pytest.mark.parametrize("step", ["publish", "end_tries"])
async def test_a_crash_after_the_send_repeats_it_under_the_same_id_when_the_lease_ends(
    step: str, in_hand: bool, sender: Sender, make: Any, due: Any, server: Server, memory: Any, clock: Any,
    publisher: Any,
) -> None:  # fmt: skip
    await sender.send_due()
    await due(1, sender if in_hand else None)
    sender.look()
    steps = publisher if step == "publish" else memory
    original = getattr(steps, step)

    async def killed(*_: Any) -> None:
        raise Killed

    setattr(steps, step, killed)
    with pytest.raises(Killed):
        await sender.send_due()
    setattr(steps, step, original)
    successor = make()
    await successor.send_due()
    assert len(server.taken) == 1
    clock.now += LEASE
    await successor.send_due()
    assert len(server.taken) == 2
    assert len(set(server.taken)) == 1
    assert states(memory) == {"sent": 1}
    assert len({event.id for event in publisher.events if event.type == SENT}) == 1


async def test_a_new_notice_is_sent_from_memory_and_costs_one_insert_and_one_update(
    sender: Sender, due: Any, server: Server, memory: Any, publisher: Any
) -> None:
    await sender.send_due()
    memory.asked.clear()
    ids = await due(50, sender)
    publisher.events.clear()
    await sender.send_due()
    assert sorted(server.taken) == sorted(ids)
    assert states(memory) == {"sent": 50}
    assert memory.asked["claim"] == memory.asked["due"] == 0
    assert memory.asked["end_tries"] < 20, "in groups"
    assert len(publisher.events) == 50


async def test_a_process_killed_before_it_sends_what_it_has_in_hand_leaves_it_to_another(
    sender: Sender, make: Any, due: Any, server: Server, memory: Any, clock: Any
) -> None:
    await sender.send_due()
    ids = await due(5, sender)
    successor = make()
    await successor.send_due()
    assert server.taken == []
    clock.now += LEASE
    await successor.send_due()
    assert sorted(server.taken) == sorted(ids)


async def test_what_is_not_new_to_the_store_is_not_sent_from_memory(
    sender: Sender, due: Any, server: Server, memory: Any, happened: Any, names: Any, outcomes: Any, clock: Any
) -> None:  # fmt: skip
    await sender.send_due()
    await due(1, sender)
    await sender.send_due()
    repeated = Handlers(memory, names, outcomes, clock, {"email": sender})
    await repeated.happened([happened("routed", 1, "c0")])
    await sender.send_due()
    assert len(server.taken) == 1


async def test_more_than_can_be_taken_in_hand_is_found_in_the_store_and_later_ones_queue_behind_it(
    sender: Sender, due: Any, server: Server, memory: Any
) -> None:
    await sender.send_due()
    first = await due(IN_HAND + 10, sender)
    later = await due(5, sender)
    assert all(memory.notices[id].due < memory.notices[first[0]].due for id in later), "unclaimed"
    await sender.send_due()
    assert sorted(server.taken) == sorted(first + later)
    await due(1, sender)
    assert len(sender._taken) == 1


async def test_what_is_kept_just_after_a_look_is_looked_for_at_once(
    sender: Sender, due: Any, memory: Any, server: Server
) -> None:
    add = memory.add

    async def looks_meanwhile(made: Any) -> Any:
        await sender.send_due()
        return await add(made)

    memory.add = looks_meanwhile
    await due(1, sender)
    await sender.send_due()
    assert states(memory) == {"sent": 1}


async def test_while_the_server_is_away_new_notices_are_not_taken_in_hand(
    sender: Sender, due: Any, server: Server, memory: Any, clock: Any
) -> None:
    await sender.send_due()
    await due(3, sender)
    server.fail = Away("away")
    await sender.send_due()
    await due(3, sender)
    assert {one.due <= clock.now for one in memory.notices.values() if one.by == "email"} == {True}
    server.fail = None
    await sender.send_due()
    assert states(memory) == {"sent": 6}


async def test_what_is_taken_while_it_leaves_is_given_back(sender: Sender, due: Any, memory: Any, clock: Any) -> None:
    await sender.send_due()
    add = memory.add

    async def leaves_meanwhile(made: Any) -> Any:
        loop = asyncio.create_task(sender.run())
        await asyncio.sleep(0)
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        return await add(made)

    memory.add = leaves_meanwhile
    await due(2, sender)
    assert {one.due for one in memory.notices.values() if one.by == "email"} == {clock.now}


async def test_what_the_store_does_not_hand_over_is_not_forgotten(
    sender: Sender, due: Any, names: Any, server: Server, memory: Any
) -> None:
    await due(3)
    named = names.named

    async def away(_: Any) -> None:
        raise DependencyDown("away")

    names.named = away
    with pytest.raises(DependencyDown):
        await sender.send_due()
    names.named = named
    await sender.send_due()
    assert states(memory) == {"sent": 3}


async def test_a_process_does_not_take_back_what_it_has_under_way_itself(
    sender: Sender, due: Any, server: Server, memory: Any, clock: Any
) -> None:
    """The database comes back after the claim has ended: what was sent meanwhile is recorded, not sent again."""
    await due(2)
    server.gate.clear()
    loop = asyncio.create_task(sender.run())
    while server.at_once < 2:
        await asyncio.sleep(0.01)
    memory.away = DependencyDown("away")
    server.gate.set()
    await asyncio.sleep(0.1)
    clock.now += 2 * LEASE
    memory.away = None
    async with asyncio.timeout(5):
        while states(memory) != {"sent": 2}:
            await asyncio.sleep(0.01)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    assert len(server.taken) == 2


@pytest.mark.parametrize("error", [DependencyDown("away"), RuntimeError("whatever it may be")])
async def test_what_the_database_does_not_take_is_recorded_when_it_does(
    error: Exception, sender: Sender, due: Any, server: Server, memory: Any
) -> None:
    await due(1)
    server.gate.clear()
    sending = asyncio.create_task(sender.send_due())
    while not server.at_once:
        await asyncio.sleep(0.01)
    memory.away = error
    server.gate.set()
    await asyncio.sleep(0.2)
    memory.away = None
    await sending
    assert len(server.taken) == 1
    assert states(memory) == {"sent": 1}


async def test_a_notice_whose_claim_might_end_in_the_middle_of_a_try_is_given_back(
    sender: Sender, due: Any, server: Server, memory: Any, clock: Any
) -> None:
    await due(6)
    server.gate.clear()
    sending = asyncio.create_task(sender.send_due())
    while server.at_once < 4:
        await asyncio.sleep(0.01)
    clock.now += LEASE / 2 + timedelta(seconds=1)
    server.gate.set()
    await sending
    assert states(memory) == {"sent": 4, "pending": 2}
    await sender.send_due()
    assert states(memory) == {"sent": 6}


async def test_a_try_that_never_ends_is_cut_off_before_its_claim_ends(
    make: Any, memory: Any, server: Server, due: Any
) -> None:
    await due(1)
    server.gate.clear()
    impatient = make(timedelta(seconds=0.2))
    await impatient.send_due()
    [one] = [one for one in memory.notices.values() if one.by == "email"]
    assert (one.state, one.attempts, one.reason) == ("pending", 1, "no answer in time")


async def test_while_kafka_is_away_sending_goes_on_and_outcomes_wait(
    memory: Any, names: Any, outcomes: Any, clock: Any, server: Server, due: Any, publisher: Any
) -> None:
    sender = Sender("email", server.take, memory, Names(names, clock), outcomes, clock, 4)
    await due(5)
    publisher.events.clear()
    publisher.fail = DependencyDown("away")
    await sender.send_due()
    assert states(memory) == {"sent": 5}
    with pytest.raises(DependencyDown):
        await outcomes.publish_left_over()
    publisher.fail = None
    await due(2)
    sender.look()
    await sender.send_due()
    assert [event for event in publisher.events if event.type == SENT] == [], "nobody has asked Kafka again"
    assert await outcomes.publish_left_over() == 7
    assert await outcomes.publish_left_over() == 0
    assert Counter(event.type for event in publisher.events if event.type == SENT) == {SENT: 7}
    await due(1)
    sender.look()
    await sender.send_due()
    assert await outcomes.publish_left_over() == 0
    assert Counter(event.type for event in publisher.events if event.type == SENT) == {SENT: 8}


async def test_a_contact_that_is_gone_is_not_written_to(
    sender: Sender, due: Any, server: Server, memory: Any, publisher: Any
) -> None:
    await due(1)
    memory.addresses.clear()
    await sender.send_due()
    assert server.taken == []
    assert publisher.events[-1].data.reason == "erased"


async def test_two_instances_share_the_work_and_send_nothing_twice(make: Any, server: Server, due: Any) -> None:
    ids = await due(BATCH * 4)
    await asyncio.gather(*(make().send_due() for _ in range(2)))
    assert sorted(server.taken) == sorted(ids)


async def test_those_that_have_waited_too_long_for_a_slot_are_sent_while_newer_ones_keep_coming(
    sender: Sender, due: Any, server: Server, memory: Any, clock: Any
) -> None:
    first, newer, take = set(await due(40, sender)), list[str](), server.take

    async def slowly(*args: Any) -> None:
        clock.now += timedelta(seconds=2)
        if first - set(server.taken) and len(newer) < 300:
            newer.extend(await due(1, sender, at=clock.now))
        await take(*args)

    sender._deliver = slowly
    while first - set(server.taken):
        await sender.send_due()
    assert len(newer) < 300
    assert len(server.taken) == len(set(server.taken))


async def test_what_is_in_hand_here_and_due_again_is_not_looked_for_without_end(sender: Sender, due: Any) -> None:
    sender._ours |= set(await due(3))  # under way for so long that their claims have ended
    assert await sender._next(10) == []
