"""Making the events that follow from another event."""

from datetime import datetime

from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.ids import consequence_id


def _where(data: Message, topic: str | None) -> str:
    if topic is None and data.TOPIC.placeholder:
        raise ValueError(f"{data.TYPE} goes to a family of topics: say to which one")
    return topic or data.TOPIC.name


def follows(
    cause: Event[Message],
    data: Message,
    source: str,
    at: datetime,
    target: str = "",
    topic: str | None = None,
    extensions: dict[str, str] | None = None,
) -> Event[Message]:
    """An event that follows from `cause`: the same id each time, in the cause's trace.

    Args:
        target: tells apart several consequences of one type.
    """
    event_id = consequence_id(cause.id, data.TYPE, target)
    return Event(event_id, source, at, data, _where(data, topic), extensions or {}, cause.traceparent)
