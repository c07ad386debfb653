"""Topics → notices: contacts from submissions, decisions from the lifecycle, names from the catalogue.

Contact and lifecycle are read apart, so either may come first. Whoever writes one then looks for the other: of two
that do so at once, at least one sees both.
"""

from collections.abc import Callable, Collection, Sequence
from typing import cast

from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.messages.catalogue import AdministrationListed
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import CaseEvent

from .domain.notices import Contact, Notice, Told, addressed, notices
from .domain.wording import Name
from .outcomes import Outcomes
from .stores import Administrations, Known, Notices


class Handlers:
    """What is done with each topic.

    Args:
        wake: called when there may be notices to send.
    """

    def __init__(
        self, store: Notices, administrations: Administrations, outcomes: Outcomes, wake: Callable[[], None]
    ) -> None:
        self._store, self._administrations, self._outcomes, self._wake = store, administrations, outcomes, wake

    async def submitted(self, events: Sequence[Event[Message]]) -> None:
        """Keeps contacts, and addresses the notices that waited for them."""
        contacts = {
            event.data.complaint_id: Contact.of(event.data)
            for event in events
            if isinstance(event.data, ComplaintSubmitted)
        }
        await self._store.keep_contacts(contacts)
        await self._address(contacts)

    async def happened(self, events: Sequence[Event[Message]]) -> None:
        """Decides who is told what, and records it; sending comes after."""
        history = [cast(Event[CaseEvent], event) for event in events if isinstance(event.data, CaseEvent)]
        known = await self._store.known({event.data.complaint_id for event in history})
        told: dict[str, Told] = {}
        made: list[Notice] = []
        for event in history:
            complaint_id = event.data.complaint_id
            case = known.get(complaint_id, Known())
            told[complaint_id] = told.get(complaint_id, case.told).after(event.data)
            made += notices(event, told[complaint_id], case.contact)
        await self._store.add(made)
        await self._address({notice.complaint_id for notice in made if notice.state == "waiting"})
        # After the notices: a batch that is cut off here is decided again from the same history.
        await self._store.remember({id: now for id, now in told.items() if now != known.get(id, Known()).told})
        await self._outcomes.publish([notice for notice in made if notice.state == "skipped"])
        self._wake()

    async def listed(self, events: Sequence[Event[Message]]) -> None:
        """Keeps the names of administrations."""
        await self._administrations.keep(
            {
                event.data.slug: Name(event.data.name_fr, event.data.name_ar)
                for event in events
                if isinstance(event.data, AdministrationListed)
            }
        )

    async def _address(self, complaint_ids: Collection[str]) -> None:
        if not complaint_ids:
            return
        known = await self._store.known(complaint_ids)
        contacts = {id: case.contact for id, case in known.items() if case.contact}
        now_addressed = [
            addressed(notice, contacts[notice.complaint_id]) for notice in await self._store.waiting(contacts.keys())
        ]
        await self._store.address(now_addressed)
        await self._outcomes.publish([notice for notice in now_addressed if notice.state == "skipped"])
        self._wake()
