"""Topics → notices: contacts from submissions, decisions from the lifecycle, names from the catalogue.

A complaint's submission and its lifecycle are read together, and yet either may come first. Whoever writes one then
looks for the other: of two that do so at once, at least one sees both.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import cast

from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import CaseEvent
from chikaya_servicekit.clock import Clock

from .domain.matrix import Means
from .domain.notices import Contact, Notice, Told, addressed, changes_words, leads_to_notices, notices
from .domain.wording import Name
from .outcomes import Outcomes
from .recent import Case, Recent
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
        contacts = {
            event.data.complaint_id: Contact.of(event.data)
            for event in events
            if isinstance(event.data, ComplaintSubmitted)
        }
        history = [cast(Event[CaseEvent], event) for event in events if isinstance(event.data, CaseEvent)]
        if contacts:
            await self._store.keep_contacts(contacts)
            await self._address(contacts.keys())
        cases = {id: replace(self._recent.get(id), contact=contact) for id, contact in contacts.items()}
        cases |= await self._known(history, contacts)
        made: list[Notice] = []
        changed: dict[str, Told] = {}
        for event in history:
            id, case = event.data.complaint_id, cases.get(event.data.complaint_id)
            if case is None or case.told is None or event.data.sequence <= case.told.sequence:
                continue
            made += notices(event, case.told, case.contact)
            cases[id] = Case(case.contact, case.told.after(event.data))
            if changes_words(event.data):
                changed[id] = case.told.after(event.data)
        if made:
            await self._keep(made, cases)
        # After the notices: a batch that is cut off here is decided again from the same history.
        await self._store.remember(changed)
        for id, case in cases.items():
            self._recent.put(id, case)

    async def listed(self, events: Sequence[Event[Message]]) -> None:
        """Keeps the names of administrations."""
        await self._administrations.keep(
            {
                event.data.slug: Name(event.data.name_fr, event.data.name_ar)
                for event in events
                if isinstance(event.data, AdministrationListed)
            }
        )

    async def _known(self, history: Sequence[Event[CaseEvent]], contacts: Mapping[str, Contact]) -> dict[str, Case]:
        """The cases before this history; without those that it changes nothing for, unless they are at hand."""
        cases: dict[str, Case] = {}
        first: dict[str, int] = {}
        told_of: set[str] = set()
        for event in history:
            id, sequence = event.data.complaint_id, event.data.sequence
            if leads_to_notices(event.data):
                told_of.add(id)
            if id in cases or id in first:
                continue
            recent = self._recent.get(id)
            case = Case(contacts.get(id, recent.contact), recent.told)
            if case.told and sequence <= case.told.sequence + 1:
                cases[id] = case
            elif sequence == 1:
                cases[id] = replace(case, told=Told())
            elif leads_to_notices(event.data) or changes_words(event.data):
                # Not seen here, or another instance has gone on with it meanwhile.
                first[id] = sequence
        told = await self._store.told(first)
        for id in first:
            cases[id] = Case(contacts.get(id, self._recent.get(id).contact), told.get(id, Told()))
        found = await self._store.contacts([id for id in told_of if cases[id].contact is None])
        return cases | {id: replace(cases[id], contact=contact) for id, contact in found.items()}

    async def _keep(self, made: Sequence[Notice], cases: Mapping[str, Case]) -> None:
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
                await sender.take([(notice, cases[notice.complaint_id].contact) for notice in mine])
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
