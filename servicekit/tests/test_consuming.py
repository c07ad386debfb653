"""Batches, retries and dead letters on the real broker, with a process of its own for each test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

import httpx
import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition
from chikaya_contracts import ids, topics
from chikaya_contracts.envelope import Event, Message, encode
from chikaya_contracts.messages.channel import ChannelSubmission
from chikaya_contracts.messages.requests import ComplaintSupplemented
from chikaya_contracts.topics import Topic
from chikaya_servicekit import batches, consuming, replay
from chikaya_servicekit.consuming import Consumer
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.letters import Letters
from chikaya_servicekit.process import Process
from chikaya_servicekit.publishing import KafkaPublisher
from chikaya_servicekit.settings import ServiceSettings
from confluent_kafka import Producer

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
Handle = Callable[[Sequence[Event[Message]]], Awaitable[None]]


class Settings(ServiceSettings):
    SERVICE = "routing"


class IntakeSettings(ServiceSettings):
    SERVICE = "intake"


def supplement(complaint_id: str, text: str = "…") -> Event[Message]:
    data = ComplaintSupplemented(complaint_id=complaint_id, at=NOW, text=text)
    return Event(ids.new_id(), "/tests", NOW, data, topics.SUPPLEMENTS.name)


async def put(broker: Any, *events: Event[Message], raw: bytes | None = None) -> None:
    """Writes to the topic of supplements as tracking does; `raw` adds a record that cannot be decoded."""
    producer = AIOKafkaProducer(**broker.client("tracking"), acks="all")
    await producer.start()
    try:
        if raw is not None:
            await producer.send_and_wait(topics.SUPPLEMENTS.name, raw, key=b"undecodable", headers=[("ce_type", b"x")])
        for event in events:
            topic, key, value, headers = encode(event)
            await producer.send_and_wait(topic, value, key=key, headers=headers)
    finally:
        await producer.stop()


@asynccontextmanager
async def consuming_process(
    broker: Any, name: str, handle: Handle, topic: Topic = topics.SUPPLEMENTS, service: str = "routing"
) -> AsyncIterator[httpx.AsyncClient]:
    """A process whose only consumer is `handle`, in a group of its own; gives a client of its HTTP."""
    settings = (Settings if service == "routing" else IntakeSettings)(
        kafka_bootstrap=broker.bootstrap, kafka_user=service, kafka_password=broker.passwords[service]
    )
    process = Process(settings, "Test")
    process.consume(Consumer(name, [topic], handle))
    async with process.app.router.lifespan_context(process.app):
        transport = httpx.ASGITransport(app=process.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def operator(broker: Any) -> AsyncIterator[KafkaPublisher]:
    publisher = KafkaPublisher("operator", broker.client("operator"))
    yield publisher
    await publisher.stop()


async def dead_letters_of(broker: Any, consumer: str, *keys: str, service: str = "routing") -> list[Any]:
    """Those of one test: all read one topic from its beginning, and what others left there fails again."""
    found = [letter async for letter in replay.letters(broker.client("operator"), service)]
    return [letter for letter in found if letter.consumer == consumer and (letter.key or b"").decode() in keys]


async def test_what_was_handled_is_not_delivered_again(kafka: Any) -> None:
    sent, first, second = [supplement(ids.new_id()) for _ in range(20)], [], []

    async def remember_first(batch: Sequence[Event[Message]]) -> None:
        first.extend(event.id for event in batch)

    async def remember_second(batch: Sequence[Event[Message]]) -> None:
        second.extend(event.id for event in batch)

    await put(kafka, *sent)
    async with consuming_process(kafka, "once", remember_first):
        await until(lambda: {event.id for event in sent} <= set(first))
    later = supplement(ids.new_id())
    await put(kafka, later)
    async with consuming_process(kafka, "once", remember_second):
        await until(lambda: later.id in second)
    assert not {event.id for event in sent} & set(second)


async def test_a_bad_record_is_set_aside_alone(kafka: Any) -> None:
    good = [supplement(ids.new_id()) for _ in range(10)]
    poison = supplement(good[4].data.key, text="poison")
    done: list[str] = []

    async def handle(batch: Sequence[Event[Message]]) -> None:
        if any(event.id == poison.id for event in batch):
            raise ValueError("0612345678 must not be in the reason")
        done.extend(event.id for event in batch)

    await put(kafka, *good[:5], poison, *good[5:], raw=b"\xff no JSON")
    async with consuming_process(kafka, "aside", handle):
        await until(lambda: {event.id for event in good} <= set(done))
    letters = await dead_letters_of(kafka, "aside", poison.data.key, "undecodable")
    assert len(letters) == 2
    undecodable, failed = sorted(letters, key=lambda letter: letter.attempts)
    assert undecodable.value == b"\xff no JSON"
    assert "ce_specversion" in undecodable.reason
    assert failed.attempts == batches.TRIES
    assert failed.key == poison.data.key.encode()
    assert failed.value == encode(poison)[2]
    assert "ValueError" in failed.reason
    assert "0612345678" not in failed.reason


async def test_what_is_away_holds_the_batch_and_shows_in_readyz(kafka: Any) -> None:
    event, done, away = supplement(ids.new_id()), [], True

    async def handle(batch: Sequence[Event[Message]]) -> None:
        if away:
            raise DependencyDown("the archive is away")
        done.extend(one.id for one in batch)

    await put(kafka, event)
    async with consuming_process(kafka, "held", handle) as client:
        async with asyncio.timeout(20):
            while "the archive is away" not in (answer := await client.get("/readyz")).text:
                await asyncio.sleep(0.05)
        assert (answer.status_code, [*answer.json()["waiting_for"]]) == (503, ["consumer held"])
        away = False
        await until(lambda: event.id in done)
        async with asyncio.timeout(5):
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.02)
    assert await dead_letters_of(kafka, "held", event.data.key) == []


async def test_too_many_dead_letters_in_a_row_stop_the_consumer(kafka: Any) -> None:
    async def handle(_: Sequence[Event[Message]]) -> None:
        raise LookupError("nothing works")

    await put(kafka, *(supplement(ids.new_id()) for _ in range(2 * batches.IN_A_ROW)))
    async with consuming_process(kafka, "outage", handle) as client:
        async with asyncio.timeout(60):
            while "records in a row failed" not in (answer := await client.get("/readyz")).text:
                await asyncio.sleep(0.1)
        assert answer.status_code == 503
    found = [letter async for letter in replay.letters(kafka.client("operator"), "routing")]
    failed = [letter for letter in found if letter.consumer == "outage" and "LookupError" in letter.reason]
    assert batches.IN_A_ROW <= len(failed) < batches.IN_A_ROW + topics.SUPPLEMENTS.partitions


async def test_rubbish_from_one_outsider_stops_nobody_else(kafka: Any) -> None:
    topic, done = topics.CHANNEL_SUBMISSIONS.named("kiosk").name, []

    async def handle(batch: Sequence[Event[Message]]) -> None:
        done.extend(event.data.key for event in batch)

    good = encode(Event(ids.new_id(), "/tests", NOW, ChannelSubmission(sender_id="good", submission={}), topic))
    client = kafka.client("channel-kiosk")
    producer = Producer(
        {
            "bootstrap.servers": client["bootstrap_servers"],
            "security.protocol": client["security_protocol"],
            "sasl.mechanism": client["sasl_mechanism"],
            "sasl.username": client["sasl_plain_username"],
            "sasl.password": client["sasl_plain_password"],
        }
    )
    refused: list[Any] = []

    def told(error: Any, _: Any) -> None:
        refused.extend([error] if error else [])

    for number in range(2 * batches.IN_A_ROW):
        # With neither key nor value nor words in its headers: all that Kafka lets one write.
        headers: Any = [("ce_type", None), (f"x{number}", b"\xff"), ("", b"")]
        producer.produce(topic, None, None, partition=0, headers=headers, on_delivery=told)
    producer.produce(topic, good[2], good[1], partition=0, headers=good[3], on_delivery=told)
    assert (await asyncio.to_thread(producer.flush, 10), refused) == (0, [])
    async with consuming_process(kafka, "family", handle, topics.CHANNEL_SUBMISSIONS, service="intake"):
        await until(lambda: "good" in done, seconds=60)


async def test_a_record_too_large_to_be_copied_is_set_aside_by_where_it_lies(kafka: Any) -> None:
    large, later, done = supplement(ids.new_id(), text="x" * 1_040_000), supplement(ids.new_id()), []

    async def handle(batch: Sequence[Event[Message]]) -> None:
        if any(event.id == large.id for event in batch):
            raise ValueError("no")
        done.extend(event.id for event in batch)

    topic, _, value, headers = encode(large)
    producer = AIOKafkaProducer(**kafka.client("tracking"), acks="all", compression_type="gzip", max_request_size=9**9)
    await producer.start()
    await producer.send_and_wait(topic, value, key=b"k" * 20_000, headers=[*headers, ("h", b"h" * 9_000)], partition=0)
    topic, _, value, headers = encode(later)
    await producer.send_and_wait(topic, value, key=b"later", headers=headers, partition=0)
    await producer.stop()
    async with consuming_process(kafka, "large", handle):
        await until(lambda: later.id in done)
    (letter,) = await dead_letters_of(kafka, "large", "k" * batches.SMALL_HEADER)
    assert "too large to be copied" in letter.reason
    assert (letter.value, letter.original_topic) == (b"", topics.SUPPLEMENTS.name)
    assert (letter.type, "h" in dict(letter.headers)) == (large.type, False)


async def test_what_is_too_large_to_be_published_is_a_dead_letter_and_no_outage(kafka: Any) -> None:
    cause, later, done = supplement(ids.new_id()), supplement(ids.new_id()), []
    settings = Settings(
        kafka_bootstrap=kafka.bootstrap, kafka_user="tracking", kafka_password=kafka.passwords["tracking"]
    )
    publisher = Process(settings, "Tracking").publisher

    async def handle(batch: Sequence[Event[Message]]) -> None:
        if any(event.id == cause.id for event in batch):
            await publisher.publish([supplement(cause.data.key, text="x" * 2_000_000)])
        done.extend(event.id for event in batch)

    await put(kafka, cause, later)
    async with consuming_process(kafka, "unpublishable", handle):
        await until(lambda: later.id in done)
        async with asyncio.timeout(20):
            while not (letters := await dead_letters_of(kafka, "unpublishable", cause.data.key)):
                await asyncio.sleep(0.1)
    await publisher.stop()
    assert "TooLarge" in letters[0].reason


async def test_a_failure_that_nobody_foresaw_shows_in_readyz(kafka: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(_: Sequence[Event[Message]]) -> None:
        raise ValueError("no")

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a fault in the kit itself")

    monkeypatch.setattr(batches.dead_letters, "headers", broken)
    await put(kafka, supplement(ids.new_id()))
    async with consuming_process(kafka, "unforeseen", handle) as client, asyncio.timeout(20):
        while "RuntimeError in test_consuming.py" not in (answer := await client.get("/readyz")).text:
            await asyncio.sleep(0.1)
        metrics = (await client.get("/metrics")).text
    assert answer.status_code == 503
    assert 'chikaya_ready{service="routing"} 0.0' in metrics


async def test_a_replayed_dead_letter_comes_back_as_it_was(kafka: Any) -> None:
    poison, done, mended = supplement(ids.new_id()), [], False

    async def handle(batch: Sequence[Event[Message]]) -> None:
        if not mended and any(event.id == poison.id for event in batch):
            raise ValueError("not yet")
        done.extend(batch)

    await put(kafka, poison)
    async with consuming_process(kafka, "replayed", handle):
        async with asyncio.timeout(30):
            while not (letters := await dead_letters_of(kafka, "replayed", poison.data.key)):
                await asyncio.sleep(0.2)
        mended = True
        async with operator(kafka) as publisher:
            await replay.replay(publisher, letters[0], "routing")
        await until(lambda: any(event.id == poison.id for event in done))
    assert next(event for event in done if event.id == poison.id).data == poison.data


async def test_lag_counts_what_a_group_has_not_read(kafka: Any) -> None:
    async def handle(_: Sequence[Event[Message]]) -> None:
        return

    await put(kafka, supplement(ids.new_id()))
    async with consuming_process(kafka, "measured", handle):
        async with asyncio.timeout(30):
            while await lag_of(kafka, "routing.measured") != 0:
                await asyncio.sleep(0.1)
    await put(kafka, *(supplement(ids.new_id()) for _ in range(7)))
    assert await lag_of(kafka, "routing.measured") == 7


async def lag_of(broker: Any, group: str) -> int | None:
    found = [lag.records for lag in await replay.lags(broker.client("operator")) if lag.group == group]
    return found[0] if found else None


async def test_any_one_of_the_brokers_named_is_enough(kafka: Any) -> None:
    event, done = supplement(ids.new_id()), []

    async def handle(batch: Sequence[Event[Message]]) -> None:
        done.extend(one.id for one in batch)

    await put(kafka, event)
    several = replace(kafka, bootstrap=f"127.0.0.1:1,{kafka.bootstrap}")
    async with consuming_process(several, "several", handle):
        await until(lambda: event.id in done)


async def test_a_process_is_not_ready_before_its_start_is_done() -> None:
    process = Process(Settings(), "Test", kafka=False)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        begun.set()
        await go_on.wait()

    process.setup(slow)
    async with process.app.router.lifespan_context(process.app):
        transport = httpx.ASGITransport(app=process.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client, asyncio.timeout(10):
            await begun.wait()
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["waiting_for"]) == (503, {"start": "starting"})
            go_on.set()
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.01)


async def test_a_process_says_which_topics_it_waits_for(kafka: Any) -> None:
    settings = Settings(
        kafka_bootstrap=kafka.bootstrap, kafka_user="channel-kiosk", kafka_password=kafka.passwords["channel-kiosk"]
    )
    process = Process(settings, "Test")
    process.consume(Consumer("none", [topics.SUPPLEMENTS], pytest.fail))  # type: ignore[arg-type]
    async with process.app.router.lifespan_context(process.app):
        transport = httpx.ASGITransport(app=process.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client, asyncio.timeout(20):
            while "complaints.supplements.v1" not in (answer := await client.get("/readyz")).text:
                await asyncio.sleep(0.05)
    assert answer.status_code == 503


async def test_a_lane_that_is_held_delays_no_other(kafka: Any) -> None:
    slow, quick = supplement(ids.new_id()), [supplement(ids.new_id()) for _ in range(60)]
    go_on, done = asyncio.Event(), list[str]()

    async def handle(batch: Sequence[Event[Message]]) -> None:
        if any(event.id == slow.id for event in batch):
            await go_on.wait()
        done.extend(event.id for event in batch)

    await put(kafka, slow, *quick)
    async with consuming_process(kafka, "lanes", handle):
        # Those of the five other partitions: about 50 of the 60.
        await until(lambda: len(set(done) & {event.id for event in quick}) > 30)
        assert slow.id not in done
        go_on.set()
        await until(lambda: {slow.id, *(event.id for event in quick)} <= set(done))


async def test_later_records_of_a_key_wait_behind_its_dead_letter_and_come_back_in_order(kafka: Any) -> None:
    key, mended = ids.new_id(), False
    first, second, third = (supplement(key, text) for text in ("poison", "second", "third"))
    other, done = supplement(ids.new_id()), list[str]()

    async def handle(batch: Sequence[Event[Message]]) -> None:
        if not mended and any(event.id == first.id for event in batch):
            raise ValueError("not yet")
        done.extend(event.id for event in batch)

    async def letters(count: int) -> list[Any]:
        async with asyncio.timeout(30):
            while len(found := await dead_letters_of(kafka, "behind", key)) < count:
                await asyncio.sleep(0.2)
        return found

    await put(kafka, first, second, other)
    async with consuming_process(kafka, "behind", handle):
        await letters(2)
    await put(kafka, third)
    async with consuming_process(kafka, "behind", handle):  # another process knows it from the topic
        found = await letters(3)
        assert [letter.behind for letter in found] == [None, found[0].offset, found[0].offset]
        assert [letter.attempts for letter in found] == [batches.TRIES, 0, 0]
        assert (other.id in done, second.id in done, third.id in done) == (True, False, False)
        mended = True
        async with operator(kafka) as publisher:
            for letter in found:
                await replay.replay(publisher, letter, "routing")
        await until(lambda: third.id in done)
    assert [id for id in done if id in {first.id, second.id, third.id}] == [first.id, second.id, third.id]


async def test_a_replay_keeps_the_legal_time_and_nobody_can_claim_one(kafka: Any) -> None:
    topic, mended, done = topics.CHANNEL_SUBMISSIONS.named("kiosk").name, False, list[Event[Message]]()
    data = ChannelSubmission(sender_id=ids.new_id(), submission={})

    async def handle(batch: Sequence[Event[Message]]) -> None:
        mine = [event for event in batch if event.data.key == data.key]
        if mine and not mended:
            raise ValueError("not yet")
        done.extend(mine)

    async def send(headers: list[tuple[str, bytes]]) -> int:
        producer = AIOKafkaProducer(**kafka.client("channel-kiosk"))
        await producer.start()
        _, key, value, own = encode(Event(ids.new_id(), "/tests", NOW, data, topic))
        sent = await producer.send_and_wait(topic, value, key=key, headers=[*own, *headers])
        await producer.stop()
        return int(sent.timestamp)

    at = await send([])
    async with consuming_process(kafka, "legal", handle, topics.CHANNEL_SUBMISSIONS, service="intake"):
        async with asyncio.timeout(30):
            while not (found := await dead_letters_of(kafka, "legal", data.key, service="intake")):
                await asyncio.sleep(0.2)
        mended = True
        async with operator(kafka) as publisher:
            await replay.replay(publisher, found[0], "intake")
        await until(lambda: len(done) == 1)
        claimed = await send([("replayed_from", b"intake.dead-letters.v1@99999"), ("replayed_timestamp", b"1")])
        await until(lambda: len(done) == 2)
    assert [round(event.time.timestamp() * 1000) for event in done] == [at, claimed]


async def test_instances_come_and_go_and_each_record_is_handled_once(kafka: Any) -> None:
    topic = topics.CHANNEL_SUBMISSIONS.named("kiosk").name
    sent = [ChannelSubmission(sender_id=ids.new_id(), submission={}) for _ in range(300)]
    done: list[str] = []

    async def handle(batch: Sequence[Event[Message]]) -> None:
        await asyncio.sleep(0.05)
        done.extend(event.data.key for event in batch)

    async def put_slowly() -> None:
        producer = AIOKafkaProducer(**kafka.client("channel-kiosk"), acks="all")
        await producer.start()
        for data in sent:
            _, key, value, headers = encode(Event(ids.new_id(), "/tests", NOW, data, topic))
            await producer.send_and_wait(topic, value, key=key, headers=headers)
            await asyncio.sleep(0.01)
        await producer.stop()

    def consuming() -> Any:
        return consuming_process(kafka, "scaled", handle, topics.CHANNEL_SUBMISSIONS, service="intake")

    mine = {data.key for data in sent}
    async with consuming():
        putting = asyncio.create_task(put_slowly())
        await until(lambda: bool(mine & set(done)))
        async with consuming():
            await asyncio.sleep(1)  # the second joins while records flow …
        await putting  # … and has left
        await until(lambda: mine <= set(done))
    assert sorted(key for key in done if key in mine) == sorted(mine)


async def test_what_was_polled_just_before_a_rebalance_is_left_to_who_is_given_it() -> None:
    done: list[str] = []

    async def handle(batch: Sequence[Event[Message]]) -> None:
        done.extend(event.data.key for event in batch)

    class Polled:
        """The Kafka consumer, as far as it is asked."""

        committed: ClassVar[dict[TopicPartition, int]] = {}

        def assignment(self) -> set[TopicPartition]:
            return {TopicPartition(topics.SUPPLEMENTS.name, 0)}

        async def commit(self, offsets: dict[TopicPartition, int]) -> None:
            self.committed |= offsets

    class Known(Letters):
        async def caught_up(self) -> None:
            return

    publisher = KafkaPublisher("routing", {})
    consumer = Consumer("tests", [topics.SUPPLEMENTS], handle)
    run = consuming.ConsumerRun(consumer, "routing", publisher, Known("routing", {}), lambda: NOW, ())
    polled: Any = Polled()

    def poll(offset: int) -> None:
        topic, key, value, headers = encode(supplement(f"c{offset}"))
        run._take([ConsumerRecord(topic, 0, offset, 0, 0, key, value, None, 9, 9, headers)], polled)

    poll(0)
    await until(lambda: done == ["c0"])
    await run.on_partitions_revoked(set())
    assert polled.committed == {TopicPartition(topics.SUPPLEMENTS.name, 0): 1}
    poll(1)
    await run.on_partitions_assigned(set())
    poll(1)
    await until(lambda: done == ["c0", "c1"])
    await run.leave()
    assert polled.committed == {TopicPartition(topics.SUPPLEMENTS.name, 0): 2}
