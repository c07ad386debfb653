"""The ledger of dead letters: which are open, what waits behind which, and that the order of each key survives."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from chikaya_servicekit import dead_letters
from chikaya_servicekit.dead_letters import DeadLetter, Ledger, Mark
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TOPIC, LETTERS = "complaints.submitted.v1", "routing.dead-letters.v1"
Headers = list[tuple[str, bytes | None]]


def letter_headers(original: Headers | None = None, **more: Any) -> Headers:
    said = {
        "topic": TOPIC,
        "partition": 0,
        "offset": 40,
        "consumer": "submissions",
        "reason": "KeyError in routing.py:120",
        "attempts": 4,
        "first_failed_at": NOW,
        "last_failed_at": NOW,
        "timestamp": 1_772_442_000_000,
    }
    return dead_letters.headers(original or [], **(said | more))


def replayed(letter: int, to: int) -> Headers:
    return Mark(letter, "amina", NOW, to=to).headers()


def discarded(letter: int) -> Headers:
    return Mark(letter, "amina", NOW, why="a test of theirs").headers()


def ledger_of(*records: tuple[int, Headers], key: bytes = b"c1") -> Ledger:
    ledger = Ledger()
    for offset, headers in records:
        ledger.apply(offset, key, headers)
    return ledger


def offsets(letters: list[DeadLetter]) -> list[int]:
    return [letter.offset for letter in letters]


def waits(ledger: Ledger, position: int | None = None, offset: int = 50, key: bytes | None = b"c1") -> int | None:
    return ledger.blocking("submissions", TOPIC, key, position, offset)


def test_a_letter_is_read_as_it_was_written() -> None:
    original: Headers = [("ce_type", b"x.v1"), ("ce_id", None), ("dl_topic", b"forged"), ("dl_replayed", b"3")]
    letter = dead_letters.read(7, b"c1", b"{}", letter_headers(original, behind=5, position=3))
    assert isinstance(letter, DeadLetter)
    assert (letter.headers, letter.type) == ((("ce_type", b"x.v1"), ("ce_id", None)), "x.v1")
    assert (letter.original_topic, letter.original_partition, letter.original_offset) == (TOPIC, 0, 40)
    assert (letter.position, letter.behind, letter.timestamp) == (3, 5, 1_772_442_000_000)
    assert (letter.first_failed_at, letter.attempts, letter.consumer) == (NOW, 4, "submissions")


@pytest.mark.parametrize("mark", [Mark(5, "amina", NOW, to=41), Mark(5, "amina", NOW, why="en double · مكرر")])
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert dead_letters.read(9, b"c1", b"", mark.headers()) == mark


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("ce_type", b"x")],
        letter_headers(offset="no number"),
        letter_headers()[1:],
        [("dl_replayed", b"1"), ("dl_by", b"x"), ("dl_at", b"2026-03-02")],
        [("dl_discarded", b"\xff")],
        [("dl_discarded", None)],
    ],
)
def test_what_cannot_be_read_is_counted_and_ignored(headers: Headers) -> None:
    ledger = ledger_of((1, letter_headers()), (2, headers))
    assert (ledger.unreadable, offsets(ledger.open())) == (1, [1])


def test_a_letter_is_open_until_a_mark_names_it() -> None:
    ledger = ledger_of((1, letter_headers()), (2, letter_headers()), (3, letter_headers()))
    assert (offsets(ledger.open()), ledger.open_count) == ([1, 2, 3], 3)
    ledger.apply(4, b"c1", replayed(2, to=60))
    ledger.apply(5, b"c1", discarded(1))
    assert offsets(ledger.open()) == [3]
    assert [mark.done if (mark := ledger.mark(offset)) else None for offset in (1, 2, 3)] == [
        "discarded",
        "replayed",
        None,
    ]
    assert len(list(ledger.letters())) == 3


def test_what_was_discarded_is_not_to_be_taken_in_though_a_replay_of_it_comes() -> None:
    """The command that replayed it died before its mark, and somebody discarded it then."""
    ledger = ledger_of((1, letter_headers()), (2, letter_headers()), (3, discarded(1)), (4, replayed(2, to=60)))
    assert [ledger.discarded(offset) for offset in (1, 2, 7)] == [True, False, False]


def test_a_mark_of_what_has_expired_or_of_another_mark_is_nothing() -> None:
    ledger = ledger_of((3, letter_headers()), (4, discarded(1)), (5, discarded(4)))
    assert (offsets(ledger.open()), ledger.unreadable) == ([3], 0)


def test_later_records_of_the_key_wait_behind_the_oldest_open_letter() -> None:
    ledger = ledger_of((5, letter_headers()), (7, letter_headers(behind=5)))
    assert waits(ledger) == 5
    ledger.apply(8, b"c1", discarded(5))
    assert waits(ledger) == 7  # parked, so later ones park behind it
    ledger.apply(9, b"c1", discarded(7))
    assert waits(ledger) is None


def test_nothing_waits_for_another_key_topic_or_consumer_or_without_a_key() -> None:
    ledger = ledger_of((5, letter_headers()))
    ledger.apply(6, None, letter_headers())
    assert waits(ledger, key=b"c2") is None
    assert waits(ledger, key=None) is None
    assert ledger.blocking("lifecycle", TOPIC, b"c1", None, 50) is None
    assert ledger.blocking("submissions", "complaints.routed.v1", b"c1", None, 50) is None


def test_nothing_waits_for_what_nobody_could_read() -> None:
    ledger = ledger_of((5, letter_headers(reason="undecodable: no header ce_type")))
    assert (waits(ledger), offsets(ledger.open())) == (None, [5])


def test_a_replay_waits_only_for_those_before_it() -> None:
    ledger = ledger_of((5, letter_headers()), (7, letter_headers(behind=5)))
    assert waits(ledger, position=5) is None
    assert waits(ledger, position=7) == 5
    ledger.returned(5)
    assert waits(ledger, position=7) is None
    assert waits(ledger) == 7
    ledger.apply(8, b"c1", replayed(5, to=60))
    assert offsets(ledger.open()) == [7]


def test_what_lies_before_a_replay_waits_for_it() -> None:
    """The mark says "sent", not "arrived": a consumer that is behind meets younger records first."""
    ledger = ledger_of((5, letter_headers()), (6, replayed(5, to=60)))
    assert (waits(ledger, offset=59), waits(ledger, offset=61)) == (5, None)
    assert ledger.open_count == 0
    ledger.returned(5)
    assert waits(ledger, offset=59) is None


def test_what_fails_again_keeps_its_place_and_closes_the_letter_before() -> None:
    ledger = ledger_of((5, letter_headers()), (7, letter_headers(behind=5)))
    again = letter_headers([("replayed_from", f"{LETTERS}@5".encode())], position=5)
    ledger.apply(9, b"c1", again)
    assert offsets(ledger.open()) == [9, 7]
    assert (waits(ledger, position=7), waits(ledger)) == (9, 9)


@pytest.mark.parametrize("claimed", [b"x@5", b"@5", b"x@", b"x", b"\xff@5", b"x@-5", None])
def test_a_stranger_cannot_close_a_letter_by_claiming_to_be_its_replay(claimed: bytes | None) -> None:
    ledger = ledger_of((5, letter_headers()), (9, letter_headers([("replayed_from", claimed)])))
    assert offsets(ledger.open()) == [5, 9]


def test_a_record_set_aside_already_is_known_by_its_place() -> None:
    ledger = ledger_of((5, letter_headers(offset=40)), (6, discarded(5)))
    assert ledger.holds("submissions", TOPIC, 0, 40)
    assert not ledger.holds("submissions", TOPIC, 0, 41)
    assert not ledger.holds("submissions", TOPIC, 1, 40)
    assert not ledger.holds("lifecycle", TOPIC, 0, 40)


Records = list[tuple[int, bytes | None, Headers]]


@st.composite
def logs(draw: st.DrawFn) -> Records:
    """A dead-letter topic: letters of some keys, marks of them, and rubbish."""
    records: Records = []
    keys: dict[int, bytes | None] = {}
    for offset in range(draw(st.integers(0, 30))):
        kind = draw(st.sampled_from(["letter", "letter", "replayed", "discarded", "rubbish"]))
        if kind == "letter" or (not keys and kind != "rubbish"):
            keys[offset] = draw(st.sampled_from([b"a", b"b", None]))
            reason = draw(st.sampled_from(["KeyError in x.py:1", "undecodable: value"]))
            records.append((offset, keys[offset], letter_headers(reason=reason, offset=offset)))
        elif kind == "rubbish":
            records.append((offset, b"a", [("dl_topic", b"x")]))
        else:
            of = draw(st.sampled_from(sorted(keys)))
            records.append((offset, keys[of], replayed(of, to=100 + offset) if kind == "replayed" else discarded(of)))
    return records


@given(logs())
def test_open_is_what_no_mark_names(log: Records) -> None:
    ledger = Ledger()
    for record in log:
        ledger.apply(*record)
    read = [(offset, _read(offset, headers)) for offset, _, headers in log]
    named = {found.letter for _, found in read if isinstance(found, Mark)}
    assert offsets(ledger.open()) == [at for at, found in read if isinstance(found, DeadLetter) and at not in named]
    assert ledger.unreadable == sum(found is None for _, found in read)
    for position in (None, *range(30)):
        for key in (b"a", b"b"):
            found = ledger.blocking("submissions", TOPIC, key, position, 1_000)
            may = [
                letter.offset
                for letter in ledger.open()
                if letter.key == key and letter.blocks and (position is None or letter.position < position)
            ]
            assert found == (may[0] if may else None)


def _read(offset: int, headers: Headers) -> DeadLetter | Mark | None:
    try:
        return dead_letters.read(offset, None, None, headers)
    except ValueError:
        return None


@given(logs(), st.data())
def test_records_seen_again_or_letters_seen_early_change_nothing(log: Records, data: st.DataObject) -> None:
    once, again = Ledger(), Ledger()
    for record in log:
        once.apply(*record)
    for index, record in enumerate(log):
        early = data.draw(st.integers(index, len(log) - 1))
        if log[early][2][-1][0] == letter_headers()[-1][0]:
            again.apply(*log[early])
        again.apply(*record)
        again.apply(*record)
    assert again.open() == once.open()
    assert sorted(again.letters(), key=lambda one: one.offset) == list(once.letters())


@dataclass
class World:
    """A topic with one partition, its consumer, the dead-letter topic and an operator, each step by step."""

    topic: list[tuple[int, bytes, Headers]] = field(default_factory=list)  # (number of the record, key, headers)
    log: Records = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    dropped: set[int] = field(default_factory=set)
    contents: dict[int, int] = field(default_factory=dict)  # of each letter, the record's number
    ledger: Ledger = field(default_factory=Ledger)
    known: int = 0
    committed: int = 0

    def write(self, key: bytes, headers: Headers | None = None, number: int | None = None) -> int:
        self.topic.append((len(self.topic) if number is None else number, key, headers or []))
        return len(self.topic) - 1

    def learn(self) -> None:
        for record in self.log[self.known :]:
            self.ledger.apply(*record)
        self.known = len(self.log)

    def restart(self) -> None:
        self.ledger, self.known = Ledger(), 0
        self.learn()

    def consume(self, fails: bool, commits: bool) -> None:
        """The next record, as servicekit's consumers do it."""
        if self.committed == len(self.topic):
            return
        offset = self.committed
        number, key, headers = self.topic[offset]
        self.committed += commits
        if self.ledger.holds("submissions", TOPIC, 0, offset):
            return
        claim = dead_letters.replayed_from(headers)
        letter = self.ledger.letter(claim[1]) if claim else None
        position = letter.position if letter else None
        if letter and self.ledger.discarded(letter.offset):
            return
        if letter:
            self.ledger.returned(letter.offset)
        behind = self.ledger.blocking("submissions", TOPIC, key, position, offset)
        if behind is None and not fails:
            self.done.append(number)
            return
        written = letter_headers(headers, offset=offset, behind=behind, position=position)
        self.contents[len(self.log)] = number
        self.log.append((len(self.log), key, written))
        self.ledger.apply(*self.log[-1])

    def replay(self, dies: bool) -> None:
        """All that is open, in order; the command may die between a record and its mark."""
        ledger = Ledger()
        for record in list(self.log):
            ledger.apply(*record)
        for letter in ledger.open():
            assert letter.key is not None
            mark = ("replayed_from", f"{LETTERS}@{letter.offset}".encode())
            to = self.write(letter.key, [mark], self.contents[letter.offset])
            if dies:
                return
            self.log.append((len(self.log), letter.key, replayed(letter.offset, to)))

    def discard(self) -> None:
        ledger = Ledger()
        for record in self.log:
            ledger.apply(*record)
        for letter in ledger.open()[:1]:
            self.dropped.add(self.contents[letter.offset])
            self.log.append((len(self.log), letter.key, discarded(letter.offset)))


STEPS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from([b"a", b"a", b"a", b"b"])),
    st.tuples(st.just("consume"), st.booleans(), st.just(True)),
    st.tuples(st.just("consume"), st.booleans(), st.just(False)),
    st.tuples(st.just("replay"), st.booleans()),
    st.tuples(st.sampled_from(["learn", "restart", "discard"])),
)


@settings(max_examples=400)
@given(st.lists(STEPS, min_size=6, max_size=40))
def test_whatever_fails_dies_and_is_replayed_each_key_takes_effect_in_order_and_nothing_is_lost(steps: Any) -> None:
    world = World()
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
    for _ in range(4):  # the operator's last rounds, the cause being mended
        world.learn()
        while world.committed < len(world.topic):
            world.consume(fails=False, commits=True)
            world.learn()
        world.replay(dies=False)
    assert not world.ledger.open()
    written = {number: key for number, key, _ in world.topic}
    first = list(dict.fromkeys(world.done))
    assert set(written) - set(first) <= world.dropped
    for key in (b"a", b"b"):
        order = [number for number in first if written[number] == key]
        assert order == sorted(order)
