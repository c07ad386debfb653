"""Topics → domain: what a batch of messages does to cases, and what is said of it."""

from collections.abc import Awaitable, Callable, Sequence

from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.messages.notification import NoticeOutcome
from chikaya_servicekit.consuming import Consumer
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.publishing import Publisher

from .adapters.cases import Cases
from .catalogue import Catalogue
from .domain.case import Cause, Rules
from .domain.case_file import Consequence

SOURCE = "/tracking"
Missing = Callable[[set[str]], Awaitable[set[str]]]
"""Which of some topics the broker does not have."""


class Handlers:
    """What tracking does with what it reads."""

    def __init__(
        self, cases: Cases, catalogue: Catalogue, publisher: Publisher, missing_topics: Missing, rules: Rules
    ) -> None:
        self._cases, self._catalogue, self._publisher, self._rules = cases, catalogue, publisher, rules
        self._missing_topics = missing_topics
        self._inboxes: set[str] = set()

    def consumers(self) -> list[Consumer]:
        """Who reads what. Outboxes are a family, and have a consumer of their own."""
        return [
            Consumer("cases", [topics.SUBMITTED, topics.ROUTED, topics.REQUESTS], self.apply),
            Consumer("outboxes", [topics.OUTBOX], self.apply),
            Consumer("notices", [topics.OUTCOMES], self.note),
            Consumer("catalogue", [topics.CATALOGUE], self._catalogue.apply),
        ]

    async def apply(self, batch: Sequence[Cause]) -> None:
        """Takes in what is submitted, decided and asked, in order for each case, and says what followed.

        Raises:
            DependencyDown: Kafka is away, or has no inbox for an administration of the catalogue, which is then named.
        """
        await self._cases.transact(batch, self._rules, self._say)

    async def _say(self, said: Sequence[tuple[Cause, Consequence]]) -> None:
        events = [self._event(cause, one) for cause, one in said]
        await self._find_inboxes({event.topic for event in events if event.data.TOPIC is topics.INBOX})
        try:
            await self._publisher.publish(events)
        except DependencyDown:
            self._inboxes.clear()  # one of them may have vanished
            raise

    async def note(self, batch: Sequence[Event[Message]]) -> None:
        """Keeps what became of notices to citizens."""
        outcomes = [
            Event(event.id, event.source, event.time, event.data, event.topic)
            for event in batch
            if isinstance(event.data, NoticeOutcome)
        ]
        await self._cases.note(outcomes)

    async def _find_inboxes(self, named: set[str]) -> None:
        """The producer would wait long for a topic that is not there, hold all others up, and not say which it is."""
        if unseen := named - self._inboxes:
            if missing := await self._missing_topics(unseen):
                raise DependencyDown(f"topics not there (chikaya topics provision): {', '.join(sorted(missing))}")
            self._inboxes |= unseen

    def _event(self, cause: Cause, one: Consequence) -> Event[Message]:
        topic, extensions = one.data.TOPIC.name, {}
        if one.administration:
            topic = self._catalogue.inbox(one.administration, one.inbox)
            extensions = {"administration": one.administration}
        return Event(one.id, SOURCE, one.at, one.data, topic, extensions, cause.traceparent)
