"""`chikaya dead-letters` and `chikaya topics lag`: what is chosen, in which order it goes back, and what is said."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from chikaya_contracts import ids, topics
from chikaya_contracts.envelope import Event, Message, encode
from chikaya_contracts.messages.channel import ChannelSubmission
from chikaya_servicekit import cli, dead_letters, replay
from chikaya_servicekit.consuming import Consumer
from chikaya_servicekit.dead_letters import Ledger, Mark
from chikaya_servicekit.process import Process
from chikaya_servicekit.replay import Chosen, Replay
from chikaya_servicekit.settings import ServiceSettings
from typer.testing import CliRunner, Result

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SUBMISSIONS = topics.CHANNEL_SUBMISSIONS.named("kiosk").name
Headers = list[tuple[str, bytes | None]]


def headers(original: Headers | None = None, **more: Any) -> Headers:
    said = {
        "topic": SUBMISSIONS,
        "partition": 0,
        "offset": 40,
        "timestamp": 1_772_442_000_000,
        "consumer": "channels",
        "reason": "KeyError in reception.py:120",
        "attempts": 4,
        "first_failed_at": NOW,
        "last_failed_at": NOW,
    }
    return dead_letters.headers(original or [("ce_type", b"x.v1")], **(said | more))


def ledger_of(*records: tuple[int, bytes | None, Headers]) -> Ledger:
    ledger = Ledger()
    for record in records:
        ledger.apply(*record)
    return ledger


@pytest.mark.parametrize(
    ("chosen", "taken"),
    [
        (Chosen(), True),
        (Chosen(offsets=frozenset({7, 9})), True),
        (Chosen(offsets=frozenset({9})), False),
        (Chosen(type="x.v1"), True),
        (Chosen(type="x"), False),
        (Chosen(reason="keyerror"), True),
        (Chosen(reason="ValueError"), False),
        (Chosen(topic=SUBMISSIONS, key="k", type="x.v1"), True),
        (Chosen(topic=SUBMISSIONS, key="other", type="x.v1"), False),
        (Chosen(since=NOW, until=NOW), True),
        (Chosen(since=NOW + timedelta(seconds=1)), False),
        (Chosen(until=NOW - timedelta(seconds=1)), False),
    ],
)
def test_filters_narrow_together(chosen: Chosen, taken: bool) -> None:
    (letter,) = ledger_of((7, b"k", headers())).open()
    assert chosen.takes(letter) is taken


WAITS_BEHIND_1 = "waits behind 1, which is not replayed"


def planned(ledger: Ledger, *offsets: int) -> list[tuple[int, str]]:
    return [(one.letter.offset, one.problem) for one in replay.plan(ledger, Chosen(offsets=frozenset(offsets)))]


def test_letters_go_back_in_the_order_in_which_their_records_first_came() -> None:
    again = headers([("replayed_from", b"intake.dead-letters.v1@1")], position=1)
    ledger = ledger_of((1, b"a", headers()), (2, b"a", headers(behind=1)), (3, b"b", headers()), (4, b"a", again))
    assert planned(ledger) == [(4, ""), (2, ""), (3, "")]


def test_a_letter_does_not_overtake_one_that_is_not_chosen() -> None:
    ledger = ledger_of((1, b"a", headers()), (2, b"a", headers(behind=1)), (3, b"b", headers()), (4, b"a", headers()))
    assert planned(ledger, 2, 3, 4) == [(2, WAITS_BEHIND_1), (3, ""), (4, WAITS_BEHIND_1)]


def test_undecodable_letters_and_letters_without_a_key_hold_nobody_back() -> None:
    ledger = ledger_of((1, b"a", headers(reason="undecodable: x")), (2, None, headers()), (3, b"a", headers()))
    assert planned(ledger, 3) == [(3, "")]
    assert planned(ledger, 1, 2) == [(1, ""), (2, "")]


def test_what_was_too_large_to_be_copied_is_not_sent_back_empty() -> None:
    large = headers(reason=f"KeyError in x.py:1 (2000000 bytes: {dead_letters.TOO_LARGE}, to be read where it lies)")
    assert planned(ledger_of((1, b"a", large), (2, b"a", headers()))) == [
        (1, dead_letters.TOO_LARGE),
        (2, WAITS_BEHIND_1),
    ]


def test_only_what_parked_behind_a_replay_meanwhile_follows_it() -> None:
    ledger = ledger_of((1, b"a", headers()), (2, b"b", headers()), (3, b"b", headers(behind=2)))
    done = [Replay(letter, to=50) for letter in ledger.open() if letter.offset == 1]
    for offset, key, more in [(6, b"a", {"behind": 1}), (7, b"b", {"behind": 3}), (8, b"a", {}), (9, b"a", {})]:
        ledger.apply(offset, key, headers(**more, **({"position": 1} if offset == 9 else {})))
    assert replay.parked_since(ledger, 6, done) == Chosen(offsets=frozenset({6}))
    assert replay.parked_since(ledger, 7, done) is None


def test_a_type_may_be_named_as_the_table_shows_it() -> None:
    (letter,) = ledger_of((1, b"a", headers([("ce_type", b"ma.chikaya.case.closed.v1")]))).open()
    assert Chosen(type="case.closed.v1").takes(letter)
    assert Chosen(type="ma.chikaya.case.closed.v1").takes(letter)
    assert not Chosen(type="closed.v1").takes(letter)


def test_what_strangers_wrote_is_shown_and_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    cli.show([{"key": "[/b][red]x\x1b[2J\x9b1m · مرحبا", "n": 1}], "Title", as_json=False, empty="")
    shown = capsys.readouterr().out
    assert "[/b][red]x\\x1b[2J\\x9b1m · مرحبا" in shown


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2026-03-02T09:00", NOW), ("2026-03-02T10:00+01:00", NOW), ("2026-03-02", NOW.replace(hour=0))],
)
def test_a_time_is_utc_unless_it_says_otherwise(text: str, moment: datetime) -> None:
    assert cli._when(text) == moment


@pytest.mark.parametrize(("text", "ago"), [("90m", 1.5), ("6h", 6), ("2d", 48)])
def test_a_time_may_be_so_long_ago(text: str, ago: float) -> None:
    assert abs(datetime.now(UTC) - timedelta(hours=ago) - cli._when(text)) < timedelta(minutes=1)


# On the real broker


class IntakeSettings(ServiceSettings):
    SERVICE = "intake"


Command = Callable[..., Awaitable[Result]]


@pytest.fixture
def chikaya(kafka: Any) -> Command:
    """Runs the command as the operator; a thread of its own, since it has a loop of its own."""

    async def run(*arguments: Any, user: str = "operator") -> Result:
        words = [str(argument) for argument in arguments]
        environment = {**kafka.environment(user), "COLUMNS": "400"}
        return await asyncio.to_thread(CliRunner().invoke, cli.app, words, env=environment)

    return run


def rows(result: Result) -> Any:
    assert result.exit_code in (0, cli.IN_PART), result.output
    return json.loads(result.stdout.splitlines()[-1])


@dataclass
class Kiosk:
    """A channel's records of one key, and the consumer that fails at some of them."""

    broker: Any
    key: str
    failing: set[int] = field(default_factory=set)
    done: list[tuple[int, datetime]] = field(default_factory=list)

    async def send(self, *numbers: int) -> None:
        producer = AIOKafkaProducer(**self.broker.client("channel-kiosk"), acks="all")
        await producer.start()
        try:
            for number in numbers:
                data = ChannelSubmission(sender_id=self.key, submission={"number": number})
                topic, key, value, sent = encode(Event(ids.new_id(), "/tests", NOW, data, SUBMISSIONS))
                await producer.send_and_wait(topic, value, key=key, headers=sent)
        finally:
            await producer.stop()

    async def handle(self, batch: Sequence[Event[Message]]) -> None:
        for event in batch:
            assert isinstance(event.data, ChannelSubmission)
            if event.data.key != self.key:
                continue
            if (number := event.data.submission["number"]) in self.failing:
                raise ValueError("not yet")
            self.done.append((number, event.time))

    @property
    def numbers(self) -> list[int]:
        """What was done, in its order, without repetitions."""
        return list(dict.fromkeys(number for number, _ in self.done))

    @asynccontextmanager
    async def consumed(self, name: str) -> AsyncIterator[None]:
        settings = IntakeSettings(
            kafka_bootstrap=self.broker.bootstrap, kafka_user="intake", kafka_password=self.broker.passwords["intake"]
        )
        process = Process(settings, "Test")
        process.consume(Consumer(name, [topics.CHANNEL_SUBMISSIONS], self.handle))
        async with process.app.router.lifespan_context(process.app):
            yield


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(40):
        while not await condition():
            await asyncio.sleep(0.2)


async def letters_of(chikaya: Command, kiosk: Kiosk, count: int, *options: str) -> Any:
    """Waits until there are so many."""
    found: list[Any] = []

    async def there() -> bool:
        found[:] = rows(await chikaya("dead-letters", "list", "intake", "--key", kiosk.key, "--json", *options))
        return len(found) >= count

    await until(there)
    return found


async def test_a_key_goes_back_whole_in_order_and_at_its_legal_time(kafka: Any, chikaya: Command) -> None:
    kiosk = Kiosk(kafka, ids.new_id(), failing={0})
    async with kiosk.consumed("worked"):
        await kiosk.send(0, 1, 2)
        letters = await letters_of(chikaya, kiosk, 3)
        first, second, third = (letter["offset"] for letter in letters)
        assert [letter["behind"] for letter in letters] == [None, first, first]
        assert (kiosk.numbers, {letter["state"] for letter in letters}) == ([], {"open"})

        of_key = ("dead-letters", "replay", "intake", "--key", kiosk.key, "--json")
        assert [row["outcome"] for row in rows(await chikaya(*of_key))] == ["would be replayed"] * 3
        early = await chikaya("dead-letters", "replay", "intake", second, "--yes", "--json")
        assert (early.exit_code, rows(early)[0]["outcome"]) == (
            cli.IN_PART,
            f"not replayed: waits behind {first}, which is not replayed",
        )
        again = await chikaya(*of_key, "--yes", "--by", "amina")
        assert again.exit_code == cli.IN_PART
        assert [row["outcome"].split(",")[0] for row in rows(again)] == ["set aside again"] * 3
        assert kiosk.numbers == []

        kiosk.failing.clear()
        done = await chikaya(*of_key, "--yes", "--by", "amina")
        assert (done.exit_code, [row["outcome"] for row in rows(done)]) == (0, ["taken in"] * 3)
        assert kiosk.numbers == [0, 1, 2]
        await kiosk.send(3)

        async def fourth_done() -> bool:
            return 3 in kiosk.numbers

        await until(fourth_done)
    moments = dict(kiosk.done)
    assert [moments[number].timestamp() * 1000 for number in range(3)] == [letter["timestamp"] for letter in letters]
    none = await chikaya("dead-letters", "list", "intake", "--key", kiosk.key)
    assert (none.exit_code, none.stdout.strip()) == (0, "No open dead letters of intake that fit.")
    closed = rows(await chikaya("dead-letters", "list", "intake", "--key", kiosk.key, "--closed", "--json"))
    assert [(row["state"], row["by"]) for row in closed] == [("replayed", "amina")] * 6
    assert {row["position"] for row in closed} == {first, second, third}
    refused = await chikaya("dead-letters", "replay", "intake", first, "--yes")
    assert (refused.exit_code, "replayed by amina" in refused.stderr) == (1, True)


async def test_a_discard_is_recorded_and_what_waits_behind_stays(kafka: Any, chikaya: Command) -> None:
    kiosk = Kiosk(kafka, ids.new_id(), failing={0})
    async with kiosk.consumed("discarding"):
        await kiosk.send(0, 1)
        first, second = (letter["offset"] for letter in await letters_of(chikaya, kiosk, 2))
        discard = ("dead-letters", "discard", "intake", first, "--why", "sent by mistake · أُرسلت خطأ")
        dry = await chikaya(*discard)
        assert ("would be discarded" in dry.stdout, str(second) in dry.stderr) == (True, True)
        assert len(await letters_of(chikaya, kiosk, 2)) == 2
        assert (await chikaya(*discard, "--yes", "--by", "amina")).exit_code == 0
        assert [letter["offset"] for letter in await letters_of(chikaya, kiosk, 1)] == [second]
        shown = rows(await chikaya("dead-letters", "show", "intake", first, "--json"))
        assert (shown["state"], shown["by"], shown["why"]) == ("discarded", "amina", "sent by mistake · أُرسلت خطأ")
        assert json.loads(shown["value"])["submission"] == {"number": 0}
        await kiosk.send(2)
        await letters_of(chikaya, kiosk, 2)
        done = await chikaya("dead-letters", "replay", "intake", "--key", kiosk.key, "--yes", "--json")
        assert [row["outcome"] for row in rows(done)] == ["taken in"] * 2
    assert kiosk.numbers == [1, 2]


async def test_a_replay_whose_consumer_is_away_says_so_and_is_done_when_it_comes(kafka: Any, chikaya: Command) -> None:
    kiosk = Kiosk(kafka, ids.new_id(), failing={0})
    async with kiosk.consumed("away"):
        await kiosk.send(0)
        await letters_of(chikaya, kiosk, 1)
    kiosk.failing.clear()
    await kiosk.send(1)  # lies before the replay, and must not overtake it
    sent = await chikaya("dead-letters", "replay", "intake", "--key", kiosk.key, "--yes", "--wait", "0", "--json")
    assert (sent.exit_code, rows(sent)[0]["outcome"]) == (cli.IN_PART, "not read yet")
    async with kiosk.consumed("away"):
        await letters_of(chikaya, kiosk, 1)
        done = await chikaya("dead-letters", "replay", "intake", "--key", kiosk.key, "--yes", "--json")
        assert [row["outcome"] for row in rows(done)] == ["taken in"]
    assert kiosk.numbers == [0, 1]


async def write(kafka: Any, service: str, *records: tuple[bytes | None, Headers]) -> list[int]:
    """Writes to a service's dead-letter topic as that service does."""
    producer = AIOKafkaProducer(**kafka.client(service), acks="all")
    await producer.start()
    try:
        topic = topics.DEAD_LETTERS.named(service).name
        return [(await producer.send_and_wait(topic, b"{}", key=key, headers=said)).offset for key, said in records]
    finally:
        await producer.stop()


async def test_a_list_reads_from_since_only_and_shows_letters_of_all_services(kafka: Any, chikaya: Command) -> None:
    key, now = ids.new_id(), datetime.now(UTC)
    said = headers(last_failed_at=now, first_failed_at=now)
    for service in ("desk", "notification"):
        await write(kafka, service, (key.encode(), said), (None, [("rubbish", b"x")]))
    listed = rows(await chikaya("dead-letters", "list", "--key", key, "--since", "1h", "--json"))
    assert [row["service"] for row in listed] == ["notification", "desk"]
    table = (await chikaya("dead-letters", "list", "--key", key)).stdout
    assert "2 open dead letters of all services" in table
    assert key in table
    later = await chikaya("dead-letters", "list", "--key", key, "--since", (now + timedelta(hours=1)).isoformat())
    assert later.stdout.strip() == "No open dead letters of all services that fit."
    async with replay.reading(kafka.client("operator")) as consumer:
        box = replay.LetterBox(consumer, "desk")
        await box.read(since=now + timedelta(hours=1))
        assert list(box.ledger.letters()) == []


async def test_letters_far_apart_are_read_where_they_lie(kafka: Any) -> None:
    key = ids.new_id().encode()
    first, *_, last = await write(kafka, "desk", *[(key, headers())] * (replay.NEAR + 2))
    async with replay.reading(kafka.client("operator")) as consumer:
        found = await replay.LetterBox(consumer, "desk").whole([last, first, last + 10_000])
    assert {offset: (letter.key, letter.value) for offset, letter in found.items()} == {
        first: (key, b"{}"),
        last: (key, b"{}"),
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["list", "rooting"], 2, "no service rooting"),
        (["list", "desk", "--since", "yesterday"], 2, "neither a time"),
        (["show", "desk", "99999999"], 1, "no dead letter at offset 99999999"),
        (["replay", "desk"], 2, "say which"),
        (["replay", "desk", "99999999", "--yes"], 1, "no dead letter at offset 99999999"),
        (["discard", "desk", "--all"], 2, "--why"),
        (["discard", "desk", "--all", "--why", " "], 2, "--why is empty"),
    ],
)
async def test_what_cannot_be_done_is_said_with_its_code(
    chikaya: Command, arguments: list[str], code: int, said: str
) -> None:
    result = await chikaya("dead-letters", *arguments)
    assert (result.exit_code, said in result.output) == (code, True), result.output


async def test_a_user_who_may_not_see_the_topic_is_told_who_may(chikaya: Command) -> None:
    result = await chikaya("dead-letters", "list", "tracking", user="cnss")
    assert result.exit_code == 1
    assert "tracking.dead-letters.v1 is not there, or not shown to this Kafka user" in " ".join(result.stderr.split())


def test_a_bar_is_shown_only_to_people_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[bool] = []
    for terminal, patience in ((True, 60.0), (False, 0.0), (True, 0.0)):
        monkeypatch.setattr(cli, "err", cli.Console(stderr=True, force_terminal=terminal, quiet=True))
        monkeypatch.setattr(cli, "PATIENCE_S", patience)
        with cli.Patience("Reading") as told:
            told(1, 2)
            shown.append(told._bar is not None)
    assert shown == [False, False, True]


async def test_lag_shows_who_never_committed_and_who_reads(kafka: Any, chikaya: Command) -> None:
    async def lag_of(group: str) -> dict[str, dict[str, Any]]:
        found = rows(await chikaya("topics", "lag", "--json"))
        return {row["topic"]: row for row in found if row["group"] == group}

    kiosk = Kiosk(kafka, ids.new_id())
    await kiosk.send(0)
    async with kiosk.consumed("lagging"):

        async def all_read() -> bool:
            row = (await lag_of("intake.lagging")).get(SUBMISSIONS)
            return row is not None and (row["lag"], row["members"], row["committed"]) == (0, 1, True)

        await until(all_read)
    await kiosk.send(1, 2)
    row = (await lag_of("intake.lagging"))[SUBMISSIONS]
    assert (row["lag"], row["members"], row["committed"]) == (2, 0, True)

    consumer = replay.AIOKafkaConsumer(SUBMISSIONS, **kafka.client("intake"), group_id="intake.idle")
    await consumer.start()
    try:
        row = (await lag_of("intake.idle"))[SUBMISSIONS]
        assert (row["lag"] >= 3, row["members"], row["committed"]) == (True, 1, False)
        line = next(line for line in (await chikaya("topics", "lag")).stdout.splitlines() if "intake.idle" in line)
        assert "nothing read yet" in line
    finally:
        await consumer.stop()


def test_a_mark_names_who_and_when() -> None:
    assert cli._told(Mark(1, "amina", NOW, why="a test")) == "discarded by amina, 2026-03-02 09:00: a test"
