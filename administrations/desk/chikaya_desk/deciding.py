"""An officer decides: recorded first, then published, then confirmed. Sent again, the same words are a repeat."""

from dataclasses import dataclass

from chikaya_contracts.messages.channel import FieldError
from chikaya_sdk import Desk
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.staff import Person
from chikaya_servicekit.telemetry import traceparent
from chikaya_servicekit.validation import field_error

from .adapters.dossiers import Dossiers
from .catalogue import Catalogue
from .domain.dossier import Action, DossierFile, Made, decide, decision_id, message, sent

LONGEST_TEXT = 20_000
NEEDS_TEXT: frozenset[Action] = frozenset({"ask", "answer", "transfer"})


@dataclass(frozen=True)
class Wanted:
    """What an officer wants to do, as it came by a form or the API. `form` makes a repeat recognisable."""

    form: str
    action: Action
    text: str | None = None
    proposed: str | None = None


@dataclass(frozen=True)
class Deciding:
    """Makes decisions."""

    dossiers: Dossiers
    catalogue: Catalogue
    outbox: Desk
    clock: Clock

    def tidied(self, form: str, action: Action, text: str | None, proposed: str | None) -> Wanted:
        """What is wanted, without what the action has no use for. Browsers send lines with CRLF."""
        words = (text or "").replace("\r\n", "\n").strip() if action in NEEDS_TEXT else ""
        return Wanted(form, action, words or None, (proposed or None) if action == "transfer" else None)

    def errors(self, wanted: Wanted, administration: str) -> list[FieldError]:
        """What is wrong with it, for people."""
        found = []
        if wanted.action in NEEDS_TEXT and not wanted.text:
            found.append(field_error("missing", "text"))
        if len(wanted.text or "") > LONGEST_TEXT:
            found.append(field_error("string_too_long", "text", max_length=LONGEST_TEXT))
        if wanted.proposed and (wanted.proposed == administration or not self.catalogue.find(wanted.proposed)):
            found.append(field_error("value_error", "proposed"))
        return found

    async def decide(self, person: Person, administration: str, complaint_id: str, wanted: Wanted) -> DossierFile:
        """The dossier once Kafka has the decision; at once, for a repeat of one that it has.

        Raises:
            NotAllowed: see `domain.dossier`.
            DependencyDown: Kafka is away. The decision is kept as not sent; the same again sends it.
        """
        key = (administration, complaint_id)
        made = Made(
            id=decision_id(wanted.form, wanted.action, wanted.text, wanted.proposed),
            form=wanted.form,
            action=wanted.action,
            at=self.clock(),
            officer=person.sub,
            officer_name=person.name,
            text=wanted.text,
            proposed=wanted.proposed,
        )
        file = await self.dossiers.change(key, lambda present: decide(present, made))
        recorded = file.made(made.id) or made
        if recorded.sent:
            return file
        await self.outbox.decide(message(file, recorded), decision_id=recorded.id, traceparent=traceparent())
        return await self.dossiers.change(key, lambda present: sent(present, recorded.id), file)
