"""Dead letters: what could not be processed, and what an operator did about it, as a log and the fold of it.

`<service>.dead-letters.v1` has one partition and two kinds of records, told apart by their `dl_*` headers:

- a letter: a record's original key, value and headers, where it came from, and why it is here;
- a mark: a letter was replayed or discarded, by whom and when. It has the letter's key and no value.

A letter is open until a mark names it. `Ledger` is that fold; consumers ask it what has to wait behind which letter,
the `chikaya dead-letters` command what there is to work. Nothing here reads or writes.
"""

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from chikaya_contracts.envelope import Headers

PREFIX = "dl_"
REPLAYED_FROM, REPLAYED_TIMESTAMP = "replayed_from", "replayed_timestamp"
UNDECODABLE = "undecodable"
"""What the reason of a record begins with that no reader could read, whatever came before it."""
TOO_LARGE = "too large to be copied"
"""What the reason of a letter says that has only the beginning of its record, and cannot be replayed."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record set aside. `offset` is its own place in the dead-letter topic; `original_*` say where it came from.

    `timestamp` is the original record's, in ms since 1970: the legal time on LogAppendTime topics; None where the
    letter is older than that header. `position` is the offset of the first letter of its chain: a record that fails
    again after a replay keeps its place among those of its key. `behind` is the letter that it waits for, of a record
    that did not fail itself. A ledger's letters are without `headers` and `value`.
    """

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    type: str
    original_topic: str
    original_partition: int
    original_offset: int
    timestamp: int | None
    consumer: str
    reason: str
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime
    position: int
    behind: int | None

    @property
    def order(self) -> tuple[int, int]:
        """Sorts the letters of a key as their records first came."""
        return self.position, self.offset

    @property
    def returned(self) -> bool:
        """Whether it is the replay of an earlier letter that failed again, or had to wait again."""
        return self.position != self.offset

    @property
    def cut(self) -> bool:
        """Whether its bytes are not here, but where it came from."""
        return TOO_LARGE in self.reason

    @property
    def blocks(self) -> bool:
        """Whether later records of its key have to wait: not for what nobody could read."""
        return self.key is not None and not self.reason.startswith(UNDECODABLE)


@dataclass(frozen=True, slots=True)
class Mark:
    """What an operator did about the letter at offset `letter`: replayed it (`to`) or discarded it (`why`).

    `to` is the offset that the replay has in the partition that the letter came from.
    """

    letter: int
    by: str
    at: datetime
    to: int | None = None
    why: str | None = None

    @property
    def done(self) -> str:
        """`replayed` or `discarded`."""
        return "discarded" if self.to is None else "replayed"

    def headers(self) -> list[tuple[str, bytes | None]]:
        """As they are written, with the letter's key and no value."""
        added = {self.done: self.letter, "to": self.to, "why": self.why, "by": self.by, "at": self.at.isoformat()}
        return [(PREFIX + name, str(value).encode()) for name, value in added.items() if value is not None]


def headers(
    original: Headers,
    *,
    topic: str,
    partition: int,
    offset: int,
    consumer: str,
    reason: str,
    attempts: int,
    first_failed_at: datetime,
    last_failed_at: datetime,
    timestamp: int | None = None,
    behind: int | None = None,
    position: int | None = None,
) -> list[tuple[str, bytes | None]]:
    """The original headers, and what happened, in `dl_*` headers. `reason` must hold no personal data.

    Args:
        timestamp: the record's, in ms; of a replay, that of the letter that it is the replay of.
        behind: the open letter that this record waits for, if that is why it is set aside.
        position: of the letter that this record is the replay of; None for a record that comes for the first time.
    """
    added = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp,
        "consumer": consumer,
        "reason": reason,
        "attempts": attempts,
        "first_failed_at": first_failed_at.isoformat(),
        "last_failed_at": last_failed_at.isoformat(),
        "behind": behind,
        "position": position,
    }
    kept = [(name, value) for name, value in original if not name.startswith(PREFIX)]
    return [*kept, *((PREFIX + name, str(value).encode()) for name, value in added.items() if value is not None)]


def read(offset: int, key: bytes | None, value: bytes | None, written: Headers) -> DeadLetter | Mark:
    """A record of a dead-letter topic, understood.

    Raises:
        ValueError: a `dl_*` header is missing or is not what it should be: not written by this project.
    """
    added = {name[len(PREFIX) :]: (text or b"").decode() for name, text in written if name.startswith(PREFIX)}
    try:
        if "replayed" in added:
            at = datetime.fromisoformat(added["at"])
            return Mark(int(added["replayed"]), added["by"], at, to=int(added["to"]))
        if "discarded" in added:
            at = datetime.fromisoformat(added["at"])
            return Mark(int(added["discarded"]), added["by"], at, why=added["why"])
        original = tuple((name, text) for name, text in written if not name.startswith(PREFIX))
        return DeadLetter(
            offset=offset,
            key=key,
            value=value,
            headers=original,
            type=next((text or b"" for name, text in original if name == "ce_type"), b"").decode("utf-8", "replace"),
            original_topic=added["topic"],
            original_partition=int(added["partition"]),
            original_offset=int(added["offset"]),
            timestamp=_number(added, "timestamp"),
            consumer=added["consumer"],
            reason=added["reason"],
            attempts=int(added["attempts"]),
            first_failed_at=datetime.fromisoformat(added["first_failed_at"]),
            last_failed_at=datetime.fromisoformat(added["last_failed_at"]),
            position=offset if (position := _number(added, "position")) is None else position,
            behind=_number(added, "behind"),
        )
    except KeyError as missing:
        raise ValueError(f"no header {PREFIX}{missing.args[0]}") from None


def _number(added: dict[str, str], name: str) -> int | None:
    return int(added[name]) if name in added else None


def replayed_from(written: Headers) -> tuple[str, int] | None:
    """(dead-letter topic, offset) that a record claims to be the replay of. Whoever writes to a topic may claim it:
    it counts only where there is such a letter, of that topic, partition and key."""
    for name, text in written:
        if name == REPLAYED_FROM:
            topic, _, offset = (text or b"").decode("utf-8", "replace").rpartition("@")
            return (topic, int(offset)) if topic and offset.isascii() and offset.isdecimal() else None
    return None


class Ledger:
    """One service's dead letters, folded from the records of its topic.

    Records may be applied again and, of letters, early (a consumer applies what it has written as soon as that is
    acknowledged, so that the next record of the key sees it); nothing changes by it. Marks come after their letters.
    """

    def __init__(self) -> None:
        self.unreadable = 0
        self._letters: dict[int, DeadLetter] = {}
        self._marks: dict[int, Mark] = {}
        self._open: dict[int, DeadLetter] = {}
        self._places: set[tuple[str, str, int, int]] = set()
        # Of each key, those that others may have to wait behind, in order.
        self._queues: dict[tuple[str, str, bytes], list[DeadLetter]] = {}

    @property
    def open_count(self) -> int:
        """How many letters are open."""
        return len(self._open)

    def open(self) -> list[DeadLetter]:
        """The open letters, in order of position."""
        return sorted(self._open.values(), key=lambda letter: letter.order)

    def letters(self) -> Iterable[DeadLetter]:
        """All letters that the topic still keeps, closed ones too, as they lie there."""
        return self._letters.values()

    def letter(self, offset: int) -> DeadLetter | None:
        """The letter at that offset, open or not."""
        return self._letters.get(offset)

    def mark(self, offset: int) -> Mark | None:
        """What was done about the letter at that offset."""
        return self._marks.get(offset)

    def discarded(self, offset: int) -> bool:
        """Whether the letter at that offset was discarded: a replay of it that comes all the same, sent by a command
        that died before its mark, is to be passed over."""
        return (mark := self._marks.get(offset)) is not None and mark.to is None

    def holds(self, consumer: str, topic: str, partition: int, offset: int) -> bool:
        """Whether the record at that place is a letter, open or not: delivered again, it is to be passed over, since
        its letter is what is worked."""
        return (consumer, topic, partition, offset) in self._places

    def apply(self, offset: int, key: bytes | None, headers: Headers) -> None:
        """Folds one record of the topic. What cannot be read is counted in `unreadable`, and ignored."""
        if offset in self._letters:
            return
        try:
            found = read(offset, key, None, headers)
        except ValueError:
            self.unreadable += 1
            return
        if isinstance(found, Mark):
            self._marked(found)
        else:
            self._added(found)

    def returned(self, offset: int) -> None:
        """The replay of that letter is in its consumer's hands: nothing waits behind it any more."""
        if letter := self._letters.get(offset):
            self._open.pop(offset, None)
            self._released(letter)

    def blocking(self, consumer: str, topic: str, key: bytes | None, position: int | None, offset: int) -> int | None:
        """The letter that a record has to wait behind, by its offset: the oldest of its consumer, topic and key.

        A letter that was replayed holds back what lies before its replay in the topic: that is younger, and comes
        first.

        Args:
            position: of the letter that the record is the replay of, which waits for those before it alone; None for
                a record that comes for the first time.
            offset: of the record in its topic.
        """
        if key is None:
            return None
        for letter in self._queues.get((consumer, topic, key), ()):
            if position is not None and letter.position >= position:
                return None
            mark = self._marks.get(letter.offset)
            if mark is None or mark.to is None or offset < mark.to:
                return letter.offset
        return None

    def _added(self, letter: DeadLetter) -> None:
        before = replayed_from(letter.headers)
        letter = replace(letter, headers=())
        self._letters[letter.offset] = self._open[letter.offset] = letter
        self._places.add((letter.consumer, letter.original_topic, letter.original_partition, letter.original_offset))
        if letter.blocks and letter.key is not None:
            queue = self._queues.setdefault((letter.consumer, letter.original_topic, letter.key), [])
            insort(queue, letter, key=lambda one: one.order)
        # Of a replay that came back the mark may be missing: the command died in between.
        if letter.returned and before is not None and (earlier := self._letters.get(before[1])):
            same = (earlier.position, earlier.consumer, earlier.key) == (letter.position, letter.consumer, letter.key)
            if same and earlier is not letter:
                self.returned(earlier.offset)

    def _marked(self, mark: Mark) -> None:
        if (letter := self._letters.get(mark.letter)) is None or mark.letter in self._marks:
            return
        self._marks[mark.letter] = mark
        self._open.pop(mark.letter, None)
        if mark.to is None:
            self._released(letter)

    def _released(self, letter: DeadLetter) -> None:
        if letter.key is None:
            return
        place = (letter.consumer, letter.original_topic, letter.key)
        left = [one for one in self._queues.get(place, ()) if one.offset != letter.offset]
        if left:
            self._queues[place] = left
        else:
            self._queues.pop(place, None)
