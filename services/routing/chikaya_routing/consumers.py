"""Topics → decisions: submissions are classified and relayed, transfers decided again, supplements kept."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from chikaya_contracts.envelope import Event
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import CaseQuestionAnswered, CaseTransferRequested, CaseWithdrawn
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.publishing import Publisher

from chikaya_routing.domain import routing
from chikaya_routing.domain.catalogue import Rows
from chikaya_routing.domain.judgement import Classifier, Judgement, Submission
from chikaya_routing.domain.routing import Complaint, Supplement
from chikaya_routing.stores import Complaints


class UnknownComplaint(LookupError):
    """An administration gives back a complaint that routing has never decided."""


class Handlers:
    """What routing does with what it reads. `catalogue` gives the rows now in force."""

    def __init__(
        self,
        complaints: Complaints,
        classifier: Callable[[], Classifier],
        catalogue: Callable[[], Rows],
        publisher: Publisher,
        clock: Clock,
    ) -> None:
        self._complaints, self._classifier, self._catalogue = complaints, classifier, catalogue
        self._publisher, self._clock = publisher, clock

    async def submitted(self, batch: Sequence[Event[Any]]) -> None:
        """Classifies what is new, in one batch; what is known is published again as it was decided."""
        events: dict[str, Event[Any]] = {event.data.complaint_id: event for event in batch}
        known = await self._complaints.known(events)
        new = [event for complaint_id, event in events.items() if complaint_id not in known]
        if new:
            judgements = await asyncio.to_thread(self._classifier().judge, [_submission(event.data) for event in new])
            at = self._clock()
            decided = [
                (self._first(event, judgement, at), judgement) for event, judgement in zip(new, judgements, strict=True)
            ]
            known |= {complaint.id: complaint for complaint, _ in decided}
            if present := await self._complaints.add(decided):
                known |= await self._complaints.known(present)
        await self._publish([(known[complaint_id], 1) for complaint_id in events])

    def _first(self, event: Event[ComplaintSubmitted], judgement: Judgement, at: datetime) -> Complaint:
        decision = routing.first(event.data, judgement, self._catalogue(), at)
        return routing.with_decision(Complaint(event.data), decision, event.id, event.traceparent, release_at=at)

    async def lifecycle(self, batch: Sequence[Event[Any]]) -> None:
        """Decides transfers again; takes withdrawn complaints off the queue, puts answered ones back."""
        withdrawn = [event.data.complaint_id for event in batch if isinstance(event.data, CaseWithdrawn)]
        answered = [event for event in batch if isinstance(event.data, CaseQuestionAnswered)]
        if answered:
            await self._complaints.answered([(one.data.complaint_id, one.id, one.data.at) for one in answered])
        if withdrawn:
            await self._complaints.withdraw(withdrawn)
        if transfers := [event for event in batch if isinstance(event.data, CaseTransferRequested)]:
            await self._transferred(transfers)

    async def _transferred(self, batch: Sequence[Event[CaseTransferRequested]]) -> None:
        """Decides complaints that were given back, together; who loses a race reads anew and decides again."""
        while True:
            before = await self._complaints.known({event.data.complaint_id for event in batch})
            after = dict(before)
            for event in batch:
                complaint_id = event.data.complaint_id
                if complaint_id not in after:
                    raise UnknownComplaint(complaint_id)
                after[complaint_id] = self._given_back(after[complaint_id], event)
            decided = [(one, len(before[id_].decisions)) for id_, one in after.items() if one is not before[id_]]
            if not decided or await self._complaints.replace(decided):
                break
        first: dict[str, int] = {}
        for event in batch:
            number = after[event.data.complaint_id].decided_for(event.id)
            if number:
                first.setdefault(event.data.complaint_id, number)
        await self._publish([(after[complaint_id], number) for complaint_id, number in first.items()])

    def _given_back(self, complaint: Complaint, event: Event[CaseTransferRequested]) -> Complaint:
        """`complaint` with what follows; the same one for a repeat, and where the citizen has withdrawn."""
        if complaint.withdrawn or complaint.decided_for(event.id):
            return complaint
        at = self._clock()
        decision = routing.after_transfer(complaint, event.data, self._catalogue(), at)
        proposed = replace(complaint, proposed=event.data.proposed)
        return routing.with_decision(proposed, decision, event.id, event.traceparent, release_at=at)

    async def supplements(self, batch: Sequence[Event[Any]]) -> None:
        """Keeps what citizens add, for the triage officer and for the dossier."""
        await self._complaints.supplement(
            [(event.data.complaint_id, Supplement(event.id, event.data.at, event.data.text)) for event in batch]
        )

    async def release(self) -> int:
        """Publishes triage decisions that have rested long enough; gives how many were due. A decision about a
        complaint that was withdrawn meanwhile is taken back instead: nobody has heard of it."""
        due = await self._complaints.due(self._clock())
        ready = [complaint for complaint in due if not complaint.withdrawn]
        if ready:
            await self._publish([(complaint, len(complaint.decisions)) for complaint in ready])
            await self._complaints.released(ready)
        for complaint in due:
            if complaint.withdrawn:
                before = complaint.decisions[-1].release_at - timedelta(milliseconds=1)
                await self._complaints.take_back(routing.without_last(complaint), len(complaint.decisions), before)
        return len(due)

    async def _publish(self, complaints: Sequence[tuple[Complaint, int]]) -> None:
        """Publishes decisions from a number on, dossiers first, acknowledged, then decisions: no case is said to be
        relayed before its dossier lies there."""
        now = self._clock()
        said = [routing.publications(complaint, now, number) for complaint, number in complaints]
        await self._publisher.publish([event for dossiers, _ in said for event in dossiers])
        await self._publisher.publish([event for _, decisions in said for event in decisions])


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
