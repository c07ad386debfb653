"""For an administration: its inbox of dossiers and follow-ups, and what it decides about them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypedDict, TypeVar

from chikaya_contracts import messages, topics
from chikaya_contracts.envelope import Event
from chikaya_contracts.ids import consequence_id, new_id
from chikaya_contracts.messages.administration import (
    Acknowledge,
    AdministrationDecision,
    Answer,
    AskCitizen,
    DossierFollowUp,
    RequestTransfer,
    Start,
)
from chikaya_contracts.messages.routing import DossierForwarded

from .broker import Guest, Incoming, OnUndecodable, Security, log_undecodable

M = TypeVar("M", DossierForwarded, DossierFollowUp)


class _About(TypedDict):
    complaint_id: str
    administration: str
    officer: str | None


class Administration(Guest):
    """An administration with a system of its own: an async context manager.

    Args:
        slug: its name in the catalogue, as in its topics `administration.<slug>.inbox.v1` and `….outbox.v1`.
        user: its Kafka user, the slug.
        on_undecodable: told of a record that is no valid message, which the inbox then passes over. By default it is
            logged as an error. If it raises, the loop ends with that, and the next loop begins with that record.
    """

    def __init__(
        self,
        slug: str,
        bootstrap: str,
        user: str,
        password: str,
        *,
        security: Security = "SASL_PLAINTEXT",
        on_undecodable: OnUndecodable = log_undecodable,
    ) -> None:
        super().__init__(bootstrap, user, password, security)
        self.slug = slug
        self._inbox: Incoming[Dossier | FollowUp] = Incoming(
            self,
            topics.INBOX.named(slug).name,
            "inbox",
            messages.on(topics.INBOX),
            self._item,
            on_undecodable,
        )

    def inbox(self) -> "Incoming[Dossier | FollowUp]":
        """Dossiers and follow-ups, in order for each complaint, the first time from the oldest kept (90 days).

        `async for item in administration.inbox()`: see `Incoming` for when an item counts as handled.
        """
        return self._inbox

    async def decide(
        self, decision: AdministrationDecision, *, decision_id: str | None = None, traceparent: str | None = None
    ) -> str:
        """Sends any decision, for what an officer does later on a page, and gives its id.

        Args:
            decision_id: the same id again takes effect once: make it when the form is shown. A new one by default.

        Raises:
            ValueError: the decision names another administration.
            NotAllowed: this user may not write the outbox.
            Unavailable: Kafka is away; repeat with the same `decision_id`.
        """
        decision_id = decision_id or new_id()
        await self.send(
            Event(
                id=decision_id,
                source=f"/administration/{decision.administration}",
                time=datetime.now(UTC),
                data=decision,
                topic=topics.OUTBOX.named(self.slug).name,
                extensions=self._extensions(decision),
                traceparent=traceparent,
            )
        )
        return decision_id

    def _extensions(self, decision: AdministrationDecision) -> dict[str, str]:
        if decision.administration != self.slug:
            raise ValueError(f"{self.slug} cannot decide for {decision.administration}")
        return {}

    def _item(self, event: Event[Any]) -> "Dossier | FollowUp":
        return Dossier(event, self) if isinstance(event.data, DossierForwarded) else FollowUp(event, self)


class Desk(Administration):
    """All administrations that the shared desk serves, on its one pair of topics; each item says which it is for."""

    def __init__(
        self,
        bootstrap: str,
        user: str,
        password: str,
        *,
        security: Security = "SASL_PLAINTEXT",
        on_undecodable: OnUndecodable = log_undecodable,
    ) -> None:
        super().__init__(topics.DESK, bootstrap, user, password, security=security, on_undecodable=on_undecodable)

    def _extensions(self, decision: AdministrationDecision) -> dict[str, str]:
        return {"administration": decision.administration}


@dataclass(frozen=True, slots=True)
class Item(Generic[M]):
    """A record of the inbox, and the decisions that may follow from it.

    A decision's id is made from the record's id and the kind of decision: a record that comes again gives the same
    decision, not a second one. So each kind can be decided once for each record; for more, see
    `Administration.decide`. `officer` is your own name for who decided; the citizen does not see it. Whether a
    decision is allowed is told later, by a follow-up of the kind `refused`.

    All raise `Unavailable` when Kafka is away, `NotAllowed` when the outbox is not yours, ValueError for a text that
    is empty or longer than 20,000 characters.
    """

    event: Event[M]
    _administration: Administration

    @property
    def data(self) -> M:
        """What was sent: see `DossierForwarded` and `DossierFollowUp` in the reference of messages."""
        return self.event.data

    @property
    def complaint_id(self) -> str:
        """The complaint that it is about."""
        return self.event.data.complaint_id

    @property
    def reference(self) -> str:
        """The complaint's number as the citizen knows it, 14 digits."""
        return self.event.data.reference

    async def acknowledge(self, *, officer: str | None = None) -> str:
        """It has been received and read."""
        return await self._decide(Acknowledge(**self._about(officer)))

    async def start(self, *, officer: str | None = None) -> str:
        """Work on it has begun."""
        return await self._decide(Start(**self._about(officer)))

    async def ask(self, text: str, *, officer: str | None = None) -> str:
        """Asks the citizen; the legal clock stands until the answer, which comes as a follow-up."""
        return await self._decide(AskCitizen(**self._about(officer), text=text))

    async def answer(self, text: str, *, officer: str | None = None) -> str:
        """The reasoned answer."""
        return await self._decide(Answer(**self._about(officer), text=text))

    async def request_transfer(self, text: str, proposed: str | None = None, *, officer: str | None = None) -> str:
        """Another administration is competent: why, and the slug of that other if known."""
        return await self._decide(RequestTransfer(**self._about(officer), text=text, proposed=proposed))

    def _about(self, officer: str | None) -> "_About":
        data = self.event.data
        return {"complaint_id": data.complaint_id, "administration": data.administration, "officer": officer}

    async def _decide(self, decision: AdministrationDecision) -> str:
        return await self._administration.decide(
            decision,
            decision_id=consequence_id(self.event.id, decision.TYPE),
            traceparent=self.event.traceparent,
        )


class Dossier(Item[DossierForwarded]):
    """A complaint that has been relayed to the administration."""

    __slots__ = ()


class FollowUp(Item[DossierFollowUp]):
    """What has happened since: the citizen's answer, a reopening, a refused decision; `data.kind` says which."""

    __slots__ = ()
