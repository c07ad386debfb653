"""Topics → decisions: submissions are classified and relayed, transfers decided again, supplements kept."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Protocol

import structlog
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import CaseQuestionAnswered, CaseTransferRequested, CaseWithdrawn
from chikaya_contracts.messages.requests import ComplaintSupplemented
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.publishing import Publisher

from chikaya_routing.domain import routing
from chikaya_routing.domain.judgement import Classifier, Judgement, Submission
from chikaya_routing.domain.routing import Complaint, Supplement

log = structlog.get_logger()


class Complaints(Protocol):
    """What is kept of complaints; `adapters.mongo.MongoStore` says what each does."""

    async def load(self, ids: Iterable[str]) -> dict[str, Complaint]: ...
    async def waiting_supplements(self, ids: Iterable[str]) -> dict[str, tuple[Supplement, ...]]: ...
    async def add(self, decided: Sequence[tuple[Complaint, dict[str, Any]]]) -> set[str]: ...
    async def replace(self, complaint: Complaint, known_decisions: int, more: dict[str, Any] | None = None) -> bool: ...
    async def supplement(self, added: Sequence[tuple[str, Supplement]]) -> None: ...
    async def move(self, ids: Sequence[str], sources: Sequence[str], target: str) -> None: ...
    async def due(self, now: datetime) -> list[Complaint]: ...
    async def released(self, complaints: Sequence[Complaint]) -> None: ...


class Handlers:
    """What routing does with what it reads. `catalogue` gives the rows now in force."""

    def __init__(
        self,
        complaints: Complaints,
        classifier: Callable[[], Classifier],
        catalogue: Callable[[], Mapping[str, AdministrationListed]],
        publisher: Publisher,
        clock: Clock,
    ) -> None:
        self._complaints, self._classifier, self._catalogue = complaints, classifier, catalogue
        self._publisher, self._clock = publisher, clock

    async def submitted(self, batch: Sequence[Event[ComplaintSubmitted]]) -> None:
        """Classifies what is new, in one batch; what is known is published again as it was decided."""
        events = {event.data.complaint_id: event for event in batch}
        known = await self._complaints.load(events)
        new = [event for complaint_id, event in events.items() if complaint_id not in known]
        if new:
            early = await self._complaints.waiting_supplements(event.data.complaint_id for event in new)
            judgements = await asyncio.to_thread(self._classifier().judge, [_submission(event.data) for event in new])
            at = self._clock()
            decided = [
                (self._first(event, judgement, early.get(event.data.complaint_id, ()), at), asdict(judgement))
                for event, judgement in zip(new, judgements, strict=True)
            ]
            taken = await self._complaints.add(decided)
            known |= {complaint.id: complaint for complaint, _ in decided if complaint.id not in taken}
            known |= await self._complaints.load(taken) if taken else {}
        await self.publish([known[complaint_id] for complaint_id in events])

    def _first(
        self, event: Event[ComplaintSubmitted], judgement: Judgement, early: tuple[Supplement, ...], at: datetime
    ) -> Complaint:
        decision = routing.first(event.data, judgement, self._catalogue(), at)
        complaint = Complaint(event.data, supplements=early)
        return routing.with_decision(complaint, decision, event.id, event.traceparent, release_at=at)

    async def lifecycle(self, batch: Sequence[Event[Message]]) -> None:
        """Decides transfers again; takes withdrawn complaints off the queue, puts answered ones back."""
        transfers = [event for event in batch if isinstance(event.data, CaseTransferRequested)]
        withdrawn = [event.data.complaint_id for event in batch if isinstance(event.data, CaseWithdrawn)]
        answered = [event.data.complaint_id for event in batch if isinstance(event.data, CaseQuestionAnswered)]
        if answered:
            await self._complaints.move(answered, ["waiting"], "triage")
        if withdrawn:
            await self._complaints.move(withdrawn, ["triage", "waiting"], "withdrawn")
        for event in transfers:
            await self._transfer(event)

    async def _transfer(self, event: Event[Any]) -> None:
        asked: CaseTransferRequested = event.data
        while True:
            complaint = (await self._complaints.load([asked.complaint_id])).get(asked.complaint_id)
            if complaint is None:
                log.error("transfer of a complaint that routing never decided", event=event.id)
                return
            if complaint.decided_for(event.id):
                break
            at = self._clock()
            decision = routing.after_transfer(complaint, asked, self._catalogue(), at)
            decided = routing.with_decision(
                replace(complaint, proposed=asked.proposed), decision, event.id, event.traceparent, release_at=at
            )
            if await self._complaints.replace(decided, len(complaint.decisions)):
                complaint = decided
                break
        await self.publish([complaint])

    async def supplements(self, batch: Sequence[Event[ComplaintSupplemented]]) -> None:
        """Keeps what citizens add, for the triage officer and for the dossier."""
        await self._complaints.supplement(
            [(event.data.complaint_id, Supplement(event.id, event.data.at, event.data.text)) for event in batch]
        )

    async def publish(self, complaints: Sequence[Complaint]) -> None:
        """Dossiers first, acknowledged; then decisions: no case is said to be relayed before its dossier lies there."""
        dossiers, decisions = routing.publications(complaints, self._clock())
        await self._publisher.publish(dossiers)
        await self._publisher.publish(decisions)

    async def release(self) -> int:
        """Publishes triage decisions that have rested long enough; gives how many."""
        due = await self._complaints.due(self._clock())
        if due:
            await self.publish(due)
            await self._complaints.released(due)
        return len(due)


def _submission(data: ComplaintSubmitted) -> Submission:
    place = data.place
    return Submission(
        text=data.text,
        place=(place.commune or place.text or "") if place else "",
        wished=data.administration_wished or "",
        nature=data.nature,
    )


def every(seconds: float, work: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[None]]:
    """A background loop: at once again while there is work, else after a pause."""

    async def loop() -> None:
        while True:
            if not await work():
                await asyncio.sleep(seconds)

    return loop
