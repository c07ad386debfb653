"""Topics → domain: what a batch of messages does to cases, and what is said of it."""

from collections.abc import Sequence

from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.messages.notification import NoticeOutcome
from chikaya_servicekit.consuming import Consumer
from chikaya_servicekit.publishing import Publisher

from .adapters.cases import Cases
from .catalogue import Catalogue
from .domain.case import Cause, Rules
from .domain.case_file import Consequence

SOURCE = "/tracking"


class Handlers:
    """What tracking does with what it reads."""

    def __init__(self, cases: Cases, catalogue: Catalogue, publisher: Publisher, rules: Rules) -> None:
        self._cases, self._catalogue, self._publisher, self._rules = cases, catalogue, publisher, rules

    def consumers(self) -> list[Consumer]:
        """Who reads what. Outboxes are a family, and have a consumer of their own."""
        return [
            Consumer("cases", [topics.SUBMITTED, topics.ROUTED, topics.REQUESTS], self.apply),
            Consumer("outboxes", [topics.OUTBOX], self.apply),
            Consumer("notices", [topics.OUTCOMES], self.note),
            Consumer("catalogue", [topics.CATALOGUE], self._catalogue.apply),
        ]

    async def apply(self, batch: Sequence[Cause]) -> None:
        """Takes in what is submitted, decided and asked, in order for each case, and says what followed."""
        said = await self._cases.transact(batch, self._rules)
        await self._publisher.publish([self._event(cause, one) for cause, one in said])

    async def note(self, batch: Sequence[Event[Message]]) -> None:
        """Keeps what became of notices to citizens."""
        outcomes = [
            Event(event.id, event.source, event.time, event.data, event.topic)
            for event in batch
            if isinstance(event.data, NoticeOutcome)
        ]
        await self._cases.note(outcomes)

    def _event(self, cause: Cause, one: Consequence) -> Event[Message]:
        topic, extensions = one.data.TOPIC.name, {}
        if one.administration:
            topic = self._catalogue.inbox(one.administration, one.inbox)
            extensions = {"administration": one.administration}
        return Event(one.id, SOURCE, one.at, one.data, topic, extensions, cause.traceparent)
