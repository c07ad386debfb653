"""How decisions leave: made by the SDK, as any administration's system makes them, sent by this process's publisher."""

from chikaya_contracts.envelope import Event, Message
from chikaya_sdk import Desk
from chikaya_servicekit.publishing import Publisher


class Outbox(Desk):
    """The SDK's desk on a publisher in place of a producer of its own: that one waits for a broker that is away, and
    begins anew with it."""

    def __init__(self, publisher: Publisher) -> None:
        super().__init__(bootstrap="", user="desk", password="")
        self._publisher = publisher

    async def send(self, event: Event[Message]) -> None:
        """Returns when Kafka has acknowledged.

        Raises:
            DependencyDown: it may not have arrived; sending it again is right.
        """
        await self._publisher.publish([event])
