"""CloudEvents 1.0 in Kafka binary mode: attributes in `ce_*` headers, JSON data in the value.

One Pydantic model a CloudEvents type. Consumers are open (unknown fields are ignored), producers closed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from .topics import Topic

Headers = Sequence[tuple[str, bytes | None]]
"""Kafka record headers; the protocol lets a value be null."""


class Undecodable(ValueError):
    """A record that is no valid message: says which header or field is wrong, without its value."""


class Message(BaseModel):
    """The data of one message. Subclasses name their CloudEvents type, topic and owner."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    TYPE: ClassVar[str]
    TOPIC: ClassVar[Topic]
    OWNER: ClassVar[str]

    @property
    def key(self) -> str:
        """What keeps records in order: the complaint's id, unless the message says otherwise."""
        return self.complaint_id  # type: ignore[attr-defined]


M = TypeVar("M", bound=Message, covariant=True)


@dataclass(frozen=True, slots=True)
class Event(Generic[M]):
    """A message with its CloudEvents attributes.

    `topic` is where it goes to or came from; `extensions` are further `ce_*` attributes
    (`administration` on shared desk topics); `traceparent` follows W3C Trace Context.
    """

    id: str
    source: str
    time: datetime
    data: M
    topic: str
    extensions: dict[str, str] = field(default_factory=dict)
    traceparent: str | None = None

    @property
    def type(self) -> str:
        """The CloudEvents type."""
        return self.data.TYPE


def encode(event: Event[Message]) -> tuple[str, bytes, bytes, list[tuple[str, bytes]]]:
    """(topic, key, value, headers) for a Kafka producer."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_source", event.source.encode()),
        ("ce_type", event.type.encode()),
        ("ce_time", event.time.isoformat().encode()),
        ("ce_subject", event.data.key.encode()),
        ("content-type", b"application/json"),
        *((f"ce_{name}", value.encode()) for name, value in event.extensions.items()),
    ]
    if event.traceparent:
        headers.append(("traceparent", event.traceparent.encode()))
    return event.topic, event.data.key.encode(), event.data.model_dump_json(exclude_none=True).encode(), headers


def decode(topic: str, value: bytes | None, headers: Headers, known: dict[str, type[M]]) -> "Event[M] | None":
    """The event in a record; None if its type is valid CloudEvents but not among `known`.

    Raises:
        Undecodable: a required attribute is missing, or the data does not fit its type's schema.
    """
    attributes = {name: (content or b"").decode("utf-8", "replace") for name, content in headers}
    try:
        model = known.get(attributes["ce_type"])
        if attributes["ce_specversion"] != "1.0":
            raise Undecodable("header ce_specversion is not 1.0")
        event_id, source, time = attributes["ce_id"], attributes["ce_source"], attributes["ce_time"]
        when = datetime.fromisoformat(time)
    except KeyError as missing:
        raise Undecodable(f"no header {missing.args[0]}") from None
    except Undecodable:
        raise
    except ValueError:
        raise Undecodable("header ce_time is no ISO 8601 time") from None
    if when.tzinfo is None or not event_id:
        raise Undecodable("ce_time has no zone" if event_id else "ce_id is empty")
    if model is None:
        return None
    try:
        # Open at every level: Contact and Place are closed for who submits, not for who consumes.
        data = model.model_validate_json(value or b"", extra="ignore")
    except ValueError as error:
        raise Undecodable(_without_values(error)) from None
    return Event(
        id=event_id,
        source=source,
        time=when,
        data=data,
        topic=topic,
        extensions={
            name[3:]: text
            for name, text in attributes.items()
            if name.startswith("ce_") and name[3:] not in _CORE_ATTRIBUTES
        },
        traceparent=attributes.get("traceparent"),
    )


_CORE_ATTRIBUTES = frozenset({"specversion", "id", "source", "type", "time", "subject"})


def _without_values(error: Any) -> str:
    """What is wrong where; never the value, which may be personal."""
    problems: Iterable[Any] = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'value'}: {p['type']}" for p in problems)
