"""Fakes for handlers' tests."""

from collections.abc import Sequence

from chikaya_contracts.envelope import Event, Message


class RecordingPublisher:
    """Keeps what is published in `events`; raises `fail` instead, while it is set."""

    def __init__(self) -> None:
        self.events: list[Event[Message]] = []
        self.fail: Exception | None = None

    async def publish(self, events: Sequence[Event[Message]]) -> None:
        if self.fail:
            raise self.fail
        self.events.extend(events)
