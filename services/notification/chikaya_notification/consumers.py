"""Topics → notices: contacts from submissions, decisions from the lifecycle, names from the catalogue.

A complaint's submission and its lifecycle are read together, and yet either may come first. Whoever writes one then
looks for the other: of two that do so at once, at least one sees both.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import cast

from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import CaseEvent
from chikaya_servicekit.clock import Clock

from .domain.matrix import Means
from .domain.notices import Contact, Notice, addressed, leads_to_notices, notices
from .domain.wording import Name
from .outcomes import Outcomes
from .recent import Recent
from .sending import Sender
from .stores import Administrations, Notices


class Handlers:
    """What is done with each topic.

    Args:
        senders: of each means, who is offered the new notices.
    """

    def __init__(
        self,
        store: Notices,
        administrations: Administrations,
        outcomes: Outcomes,
        clock: Clock,
        senders: Mapping[Means, Sender],
    ) -> None:
        self._store, self._administrations, self._outcomes, self._senders = store, administrations, outcomes, senders
        self._clock, self._recent = clock, Recent(clock)

    async def happened(self, events: Sequence[Event[Message]]) -> None:
        """Keeps contacts, decides who is told what, and records it; sending comes after."""
        came = {
            event.data.complaint_id: Contact.of(event.data)
            for event in events
            if isinstance(event.data, ComplaintSubmitted)
        }
        if came:
            await self._store.keep_contacts(came)
            await self._address(came.keys())
        history = [
            cast(Event[CaseEvent], event)
            for event in events
            if isinstance(event.data, CaseEvent) and leads_to_notices(event.data)
        ]
        contacts = came | await self._contacts({event.data.complaint_id for event in history} - came.keys())
        made = [notice for event in history for notice in notices(event, contacts.get(event.data.complaint_id))]
        if made:
            await self._keep(made, contacts)
        for id, contact in contacts.items():
            self._recent.put(id, contact)

    async def listed(self, events: Sequence[Event[Message]]) -> None:
        """Keeps the names of administrations."""
        await self._administrations.keep(
            {
                event.data.slug: Name(event.data.name_fr, event.data.name_ar)
                for event in events
                if isinstance(event.data, AdministrationListed)
            }
        )

    async def _contacts(self, complaint_ids: Collection[str]) -> dict[str, Contact]:
        recent = {id: contact for id in complaint_ids if (contact := self._recent.get(id))}
        return recent | await self._store.contacts([id for id in complaint_ids if id not in recent])

    async def _keep(self, made: Sequence[Notice], contacts: Mapping[str, Contact]) -> None:
        pending = {
            by: [notice for notice in made if notice.by == by and notice.state == "pending"] for by in self._senders
        }
        claimed = {by: sender.offer(pending[by]) for by, sender in self._senders.items()}
        as_kept = {notice.id: notice for notices in claimed.values() for notice in notices}
        # Published first: they are written once, at their end.
        await self._outcomes.publish([notice for notice in made if notice.state == "skipped"])
        new = await self._store.add([as_kept.get(notice.id, notice) for notice in made])
        for by, sender in self._senders.items():
            mine = [notice for notice in claimed[by] if notice.id in new]
            if mine:
                await sender.take([(notice, contacts.get(notice.complaint_id)) for notice in mine])
            if len(claimed[by]) < len(pending[by]):
                sender.look()
        await self._address({notice.complaint_id for notice in made if notice.state == "waiting"})

    async def _address(self, complaint_ids: Collection[str]) -> None:
        """Completes the notices that waited for these complaints' contacts."""
        waiting = await self._store.waiting(complaint_ids)
        contacts = await self._store.contacts({notice.complaint_id for notice in waiting})
        now = self._clock()
        complete = [addressed(one, contacts[one.complaint_id], now) for one in waiting if one.complaint_id in contacts]
        if not complete:
            return
        await self._outcomes.publish([notice for notice in complete if notice.state == "skipped"])
        await self._store.address(complete)
        for sender in self._senders.values():
            sender.look()
