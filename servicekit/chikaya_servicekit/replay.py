"""Working dead letters on the real broker, and measuring lag: the operator's side of Kafka.

A replay sends a letter's record back to its topic and partition, with its key, waits for Kafka's acknowledgement, and
then marks the letter. A crash between the two leaves the letter open: replaying it again is harmless, since consumers
are idempotent by event id.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import for_code
from chikaya_contracts.topics import DEAD_LETTERS, SERVICES

from . import dead_letters
from .clock import utc_now
from .dead_letters import REPLAYED_FROM, REPLAYED_TIMESTAMP, TOO_LARGE, DeadLetter, Ledger, Mark
from .faults import TooLarge
from .publishing import KafkaPublisher

POLL_MS = 500
AT_ONCE = 200  # letters held in memory, bytes and all, while they are replayed
LOOK_AGAIN_S = 0.2
ROUNDS = 10  # of following what parked while a replay was on its way: each finds what came during the one before

NEAR = 100  # letters

OURS = "ma.chikaya."
"""What every type of this project begins with: people may leave it out."""

Told = Callable[[int, int], None]
"""Progress: how much of how much."""
Lane = tuple[str, str, bytes | None]
"""Consumer, topic, key."""


def _untold(_done: int, _of: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Chosen:
    """Which letters a command is about; what is None or empty does not choose.

    `reason` is a part of the reason, upper and lower case alike; `since` and `until` bound the last failure.
    """

    offsets: frozenset[int] = frozenset()
    type: str | None = None
    reason: str | None = None
    topic: str | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether the letter is one of them."""
        return (
            (not self.offsets or letter.offset in self.offsets)
            and self.type in (None, letter.type, letter.type.removeprefix(OURS))
            and (self.reason is None or self.reason.casefold() in letter.reason.casefold())
            and self.topic in (None, letter.original_topic)
            and (self.key is None or self.key.encode() == letter.key)
            and (self.since is None or letter.last_failed_at >= self.since)
            and (self.until is None or letter.last_failed_at <= self.until)
        )


@dataclass(frozen=True)
class Replay:
    """What became of one letter that was to be replayed: `to` is the offset of its replay, or `problem` says why
    there is none. Then its consumer has `passed` it or not, and may have set it aside `again`."""

    letter: DeadLetter
    problem: str = ""
    to: int | None = None
    passed: bool = False
    again: DeadLetter | None = None


@dataclass(frozen=True)
class Lag:
    """How far a consumer group is behind on a topic, in records, over all its partitions.

    `members` are the processes that read for the group now. Until it has `committed`, all that the topic keeps is
    still to be read.
    """

    group: str
    topic: str
    records: int
    members: int
    committed: bool


class Absent(LookupError):
    """A topic that this Kafka user is not shown."""


@asynccontextmanager
async def reading(client: dict[str, Any]) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of no group, which reads where it is told to."""
    consumer = AIOKafkaConsumer(**client, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


class LetterBox:
    """One service's dead letters, as an operator works them. All of it raises KafkaError when Kafka is away.

    `ledger` is what was read, `read_to` the offset that comes next.

    Args:
        consumer: of no group; used by one box at a time.
    """

    def __init__(self, consumer: AIOKafkaConsumer, service: str) -> None:
        self.service, self.ledger = service, Ledger()
        self._consumer, self._topic = consumer, DEAD_LETTERS.named(service).name
        self._partition = TopicPartition(self._topic, 0)
        self.read_to = 0

    async def read(self, *, since: datetime | None = None, start: int = 0, told: Told = _untold) -> None:
        """Folds into `ledger` all that is there now, or, the second time, what is new.

        Args:
            since: only what was written then or later; letters before that stay unknown, and their marks are ignored.
            start: the same, by offset.

        Raises:
            Absent: the topic is not there, or not for this user.
        """
        begin, end = await self._bounds()
        begin = max(begin, start, self.read_to)
        if since is not None:
            found = (await self._consumer.offsets_for_times({self._partition: int(since.timestamp() * 1000)})).popitem()
            begin = max(begin, end if found[1] is None else found[1].offset)
        async for record in self._records(begin, end, told):
            self.ledger.apply(record.offset, record.key, record.headers)
        self.read_to = max(begin, end)

    async def whole(self, offsets: Iterable[int]) -> dict[int, DeadLetter]:
        """Letters with their bytes and headers, read where they lie; without those that are no letters, or kept no
        more.

        Raises:
            Absent: the topic is not there, or not for this user.
        """
        begin, end = await self._bounds()
        wanted = sorted(offset for offset in set(offsets) if begin <= offset < end)
        found: dict[int, DeadLetter] = {}
        for run in _runs(wanted):
            async for record in self._records(run[0], run[-1] + 1):
                if record.offset in run and (letter := _letter(record)):
                    found[letter.offset] = letter
        return found

    async def replay(
        self, publisher: KafkaPublisher, todo: Sequence[Replay], by: str, told: Told = _untold
    ) -> list[Replay]:
        """Sends letters back, in their order for each key, and marks each; those with a problem stay.

        Raises:
            DependencyDown: Kafka did not acknowledge; what was replayed is marked, the rest stays open.
        """
        done: list[Replay] = []
        for start in range(0, len(todo), AT_ONCE):
            told(start, len(todo))
            some = todo[start : start + AT_ONCE]
            whole = await self.whole(one.letter.offset for one in some if not one.problem)
            lanes: dict[Lane, list[Replay]] = defaultdict(list)
            for one in some:
                lanes[lane(one.letter)].append(one)
            ends = await asyncio.gather(
                *(self._replay_lane(publisher, of_key, whole, by) for of_key in lanes.values()), return_exceptions=True
            )
            for end in ends:
                if isinstance(end, BaseException):
                    raise end
                done += end
        return sorted(done, key=lambda one: one.letter.order)

    async def _replay_lane(
        self, publisher: KafkaPublisher, todo: Sequence[Replay], whole: dict[int, DeadLetter], by: str
    ) -> list[Replay]:
        done: list[Replay] = []
        stuck: int | None = None
        for one in todo:
            letter = whole.get(one.letter.offset)
            if stuck is not None and one.letter.blocks and not one.problem:
                one = replace(one, problem=_waits(stuck))
            elif letter is None and not one.problem:
                one = replace(one, problem="kept no more")
            elif letter is not None and not one.problem:
                try:
                    one = replace(one, to=await replay(publisher, letter, self.service, by))
                except TooLarge:
                    one, stuck = replace(one, problem="larger than Kafka takes with the mark"), letter.offset
            done.append(one)
        return done

    async def discard(self, publisher: KafkaPublisher, letters: Sequence[DeadLetter], by: str, why: str) -> None:
        """Marks letters as not to be processed, and why.

        Raises:
            DependencyDown: Kafka did not acknowledge all marks; discarding again is right.
        """
        at = utc_now()
        await publisher.send_raw(
            [(self._topic, letter.key, b"", Mark(letter.offset, by, at, why=why).headers()) for letter in letters]
        )

    async def outcome(self, client: dict[str, Any], sent: Sequence[Replay], wait_s: float) -> list[Replay]:
        """The same, with what the consumers made of it: waits until they have passed the replays, `wait_s` at most."""
        places: dict[str, dict[TopicPartition, int]] = defaultdict(dict)
        for one in sent:
            if one.to is not None:
                wanted = places[self._group(one)]
                wanted[_partition(one)] = max(wanted.get(_partition(one), -1), one.to)
        passed = await _passed(client, places, wait_s)
        await self.read()
        again = {_place(letter, letter.original_offset): letter for letter in self.ledger.letters()}
        return [
            one
            if one.to is None
            else replace(
                one,
                passed=passed.get((self._group(one), _partition(one)), -1) > one.to,
                again=again.get(_place(one.letter, one.to)),
            )
            for one in sent
        ]

    def _group(self, one: Replay) -> str:
        return f"{self.service}.{one.letter.consumer}"

    async def _bounds(self) -> tuple[int, int]:
        if self._topic not in await self._consumer.topics():
            raise Absent(f"{self._topic} is not there, or not shown to this Kafka user")
        begin = await self._consumer.beginning_offsets([self._partition])
        end = await self._consumer.end_offsets([self._partition])
        return begin[self._partition], end[self._partition]

    async def _records(self, start: int, end: int, told: Told = _untold) -> AsyncIterator[ConsumerRecord]:
        if start >= end:
            return
        self._consumer.assign([self._partition])
        self._consumer.seek(self._partition, start)
        while (at := await self._consumer.position(self._partition)) < end:
            told(at - start, end - start)
            for records in (await self._consumer.getmany(self._partition, timeout_ms=POLL_MS)).values():
                for record in records:
                    if record.offset < end:
                        yield record


async def work(
    box: LetterBox,
    client: dict[str, Any],
    publisher: KafkaPublisher,
    todo: Sequence[Replay],
    by: str,
    wait_s: float,
    told: Told = _untold,
) -> list[Replay]:
    """Replays, sees what the consumers make of it, and does the same with what parked meanwhile.

    Args:
        wait_s: for the consumers, at most, in each round; no consumer may be running.

    Raises:
        DependencyDown, KafkaError: what was replayed is marked, the rest stays open.
    """
    done: list[Replay] = []
    for _ in range(ROUNDS):
        before = box.read_to
        settled = await box.outcome(client, await box.replay(publisher, todo, by, told), wait_s)
        done += settled
        parked = parked_since(box.ledger, before, settled)
        if parked is None:
            break
        todo = plan(box.ledger, parked)
    return done


def lane(letter: DeadLetter) -> Lane:
    """What is kept in order: the key of a topic, for one consumer."""
    return letter.consumer, letter.original_topic, letter.key


def plan(ledger: Ledger, chosen: Chosen) -> list[Replay]:
    """The open letters that are chosen, in order; those that cannot be replayed have their problem."""
    todo: list[Replay] = []
    held: dict[Lane, int] = {}
    for letter in ledger.open():
        taken, behind = chosen.takes(letter), held.get(lane(letter)) if letter.blocks else None
        problem = TOO_LARGE if letter.cut else "" if behind is None else _waits(behind)
        if taken:
            todo.append(Replay(letter, problem))
        if letter.blocks and (problem or not taken):
            held.setdefault(lane(letter), letter.offset)
    return todo


def parked_since(ledger: Ledger, before: int, sent: Sequence[Replay]) -> Chosen | None:
    """The letters at `before` or later that came for the first time and parked behind a replay on its way."""
    lanes = {lane(one.letter) for one in sent if one.to is not None}
    found = [
        letter.offset
        for letter in ledger.open()
        if letter.offset >= before and letter.behind is not None and not letter.returned and lane(letter) in lanes
    ]
    return Chosen(offsets=frozenset(found)) if found else None


async def replay(publisher: KafkaPublisher, letter: DeadLetter, service: str, by: str = "operator") -> int:
    """Sends a letter, bytes and all, to the topic and partition that it came from, with its key, and marks it; gives
    the offset of the replay.

    The partition is named since clients in other languages may spread keys otherwise.

    Raises:
        DependencyDown: Kafka did not acknowledge; the letter may have been sent, and is open.
        TooLarge: it cannot be sent.
    """
    topic = DEAD_LETTERS.named(service).name
    headers = [pair for pair in letter.headers if pair[0] not in (REPLAYED_FROM, REPLAYED_TIMESTAMP)]
    headers.append((REPLAYED_FROM, f"{topic}@{letter.offset}".encode()))
    if letter.timestamp is not None:
        headers.append((REPLAYED_TIMESTAMP, str(letter.timestamp).encode()))
    record = (letter.original_topic, letter.key, letter.value, headers)
    (to,) = await publisher.send_raw([record], partition=letter.original_partition)
    await publisher.send_raw([(topic, letter.key, b"", Mark(letter.offset, by, utc_now(), to=to).headers())])
    return to


async def letters(client: dict[str, Any], service: str) -> AsyncIterator[DeadLetter]:
    """Every dead letter of a service that is still kept, bytes and all, oldest first.

    Raises:
        Absent: the topic is not there, or not for this user.
    """
    async with reading(client) as consumer:
        box = LetterBox(consumer, service)
        await box.read()
        for letter in (await box.whole(letter.offset for letter in box.ledger.letters())).values():
            yield letter


def _letter(record: ConsumerRecord) -> DeadLetter | None:
    try:
        found = dead_letters.read(record.offset, record.key, record.value, record.headers)
    except ValueError:
        return None
    return found if isinstance(found, DeadLetter) else None


def _place(letter: DeadLetter, offset: int) -> tuple[str, str, int, int]:
    return letter.consumer, letter.original_topic, letter.original_partition, offset


def _partition(one: Replay) -> TopicPartition:
    return TopicPartition(one.letter.original_topic, one.letter.original_partition)


def _waits(behind: int) -> str:
    return f"waits behind {behind}, which is not replayed"


def _runs(offsets: Sequence[int]) -> list[list[int]]:
    """Ascending offsets, those near each other together: reading over a gap is cheaper than to seek anew."""
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and offset - runs[-1][-1] <= NEAR:
            runs[-1].append(offset)
        else:
            runs.append([offset])
    return runs


async def _passed(
    client: dict[str, Any], places: dict[str, dict[TopicPartition, int]], wait_s: float
) -> dict[tuple[str, TopicPartition], int]:
    """Where each group is, in each partition; returns when all are past the offsets given, or after `wait_s`."""
    admin = AIOKafkaAdminClient(**client)
    await admin.start()
    try:
        until = time.monotonic() + wait_s
        while True:
            at: dict[tuple[str, TopicPartition], int] = {}
            for group, wanted in places.items():
                committed = await admin.list_consumer_group_offsets(group, partitions=list(wanted))
                at |= {(group, partition): found.offset for partition, found in committed.items()}
            behind = [
                partition
                for group, wanted in places.items()
                for partition, offset in wanted.items()
                if at.get((group, partition), -1) <= offset
            ]
            if not behind or time.monotonic() > until:
                return at
            await asyncio.sleep(LOOK_AGAIN_S)
    finally:
        await admin.close()


async def lags(client: dict[str, Any]) -> list[Lag]:
    """The lag of every consumer group of the services on every topic that it has committed on, or reads now."""
    admin = AIOKafkaAdminClient(**client)
    await admin.start()
    try:
        async with reading(client) as consumer:
            groups = sorted(name for name, _ in await admin.list_consumer_groups() if name.split(".")[0] in SERVICES)
            found: list[Lag] = []
            for group in groups:
                found += await _lags_of(group, admin, consumer)
            return found
    finally:
        await admin.close()


async def _lags_of(group: str, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> list[Lag]:
    committed = await admin.list_consumer_group_offsets(group)
    assigned = await _assigned(group, admin)
    partitions = list({*committed, *(partition for partitions in assigned for partition in partitions)})
    begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    of_topic: dict[str, list[TopicPartition]] = defaultdict(list)
    for partition in partitions:
        of_topic[partition.topic].append(partition)
    lags_found: list[Lag] = []
    for topic, theirs in sorted(of_topic.items()):
        at = {one: committed[one].offset if one in committed else begins[one] for one in theirs}
        records = sum(max(0, ends[one] - at[one]) for one in theirs)
        members = sum(any(one.topic == topic for one in member) for member in assigned)
        lags_found.append(Lag(group, topic, records, members, any(one in committed for one in theirs)))
    return lags_found


async def _assigned(group: str, admin: AIOKafkaAdminClient) -> list[list[TopicPartition]]:
    """What each member of a group reads."""
    (answer,) = await admin.describe_consumer_groups([group])
    error, _name, _state, _type, _protocol, members, *_ = answer.groups[0]
    if error:
        raise for_code(error)(group)
    assignments = [member[-1] for member in members]  # without their ids, which differ between versions of Kafka
    return [ConsumerProtocolMemberAssignment.decode(one).partitions() for one in assignments if one]
