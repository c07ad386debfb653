"""Dead letters: records that cannot be processed, with original bytes and headers, reason and attempts."""

from dataclasses import dataclass
from datetime import datetime

from chikaya_contracts.envelope import Headers

PREFIX = "dl_"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record of a dead-letter topic. `offset` is its own place there; `original_*` say where it came from."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    original_topic: str
    original_partition: int
    original_offset: int
    consumer: str
    reason: str
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime

    @property
    def type(self) -> str:
        """The CloudEvents type that the original claimed."""
        return (dict(self.headers).get("ce_type") or b"").decode("utf-8", "replace")


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
) -> list[tuple[str, bytes | None]]:
    """The original headers, and what happened, in `dl_*` headers. `reason` must hold no personal data."""
    added = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "consumer": consumer,
        "reason": reason,
        "attempts": attempts,
        "first_failed_at": first_failed_at.isoformat(),
        "last_failed_at": last_failed_at.isoformat(),
    }
    kept = [(name, value) for name, value in original if not name.startswith(PREFIX)]
    return [*kept, *((PREFIX + name, str(value).encode()) for name, value in added.items())]


def read(offset: int, key: bytes | None, value: bytes | None, written: Headers) -> DeadLetter:
    """A record of a dead-letter topic, understood.

    Raises:
        KeyError: a `dl_*` header is missing: not written by this project.
    """
    added = {name[len(PREFIX) :]: (text or b"").decode() for name, text in written if name.startswith(PREFIX)}
    return DeadLetter(
        offset=offset,
        key=key,
        value=value,
        headers=tuple((name, text) for name, text in written if not name.startswith(PREFIX)),
        original_topic=added["topic"],
        original_partition=int(added["partition"]),
        original_offset=int(added["offset"]),
        consumer=added["consumer"],
        reason=added["reason"],
        attempts=int(added["attempts"]),
        first_failed_at=datetime.fromisoformat(added["first_failed_at"]),
        last_failed_at=datetime.fromisoformat(added["last_failed_at"]),
    )
