"""Domain → what officers and programs see of a dossier."""

from datetime import datetime, timedelta
from typing import Literal

from chikaya_contracts.messages.intake import Attachment
from chikaya_contracts.submission import Contact, Place
from pydantic import BaseModel

from .adapters.dossiers import Listed
from .domain.dossier import Action, DossierFile, FollowUp, Forwarding, Group, Made, Standing, State

REGISTERING = timedelta(minutes=2)
"""For how long a decision is shown as being registered: then no refusal is likely any more."""
Status = Literal["unsent", "registering", "sent", "refused"]


class LineShown(BaseModel):
    """A line of the history. `what` is `forwarded`, the kind of a follow-up, or an officer's action.

    Of an action, `status` says what became of it, `id` names it, `reason` says why it was refused.
    """

    at: datetime
    what: str
    text: str | None = None
    score: int | None = None
    answer_due: datetime | None = None
    id: str | None = None
    form: str | None = None
    officer: str | None = None
    proposed: str | None = None
    status: Status | None = None
    request: str | None = None
    reason: str | None = None


class DossierShown(BaseModel):
    """A dossier. `allowed` is what may be done now; `late` that its answer is overdue; times are UTC."""

    complaint_id: str
    reference: str
    administration: str
    state: State
    group: Group
    late: bool
    received_at: datetime
    relay_due: datetime
    answer_due: datetime
    nature: str
    text: str
    place: Place | None
    contact: Contact
    notice_language: Literal["fr", "ar"]
    channel: str
    attachments: tuple[Attachment, ...]
    note: str | None
    allowed: tuple[Action, ...]
    history: list[LineShown]

    def last(self, action: Action | None = None) -> LineShown | None:
        """The latest decision, of an action or of any."""
        made = (line for line in reversed(self.history) if line.status)
        return next((line for line in made if action in (None, line.what)), None)


class ListedShown(BaseModel):
    """A line of the list."""

    complaint_id: str
    reference: str
    state: State
    late: bool
    received_at: datetime
    answer_due: datetime
    nature: str
    excerpt: str
    commune: str | None
    place: str | None


class PageShown(BaseModel):
    """A page of the list; `next` is to be given as `after` for the next page, and absent on the last."""

    dossiers: list[ListedShown]
    next: str | None = None


def show(file: DossierFile, now: datetime) -> DossierShown | None:
    """None before the dossier itself has come."""
    standing, dossier = file.standing, file.dossier
    if standing is None or dossier is None:
        return None
    return DossierShown(
        complaint_id=file.complaint_id,
        reference=dossier.reference,
        administration=file.administration,
        state=standing.state,
        group=standing.group,
        late=standing.late(now),
        received_at=dossier.received_at,
        relay_due=dossier.relay_due,
        answer_due=standing.answer_due,
        nature=dossier.nature,
        text=dossier.text,
        place=dossier.place,
        contact=dossier.contact,
        notice_language=dossier.notice_language,
        channel=dossier.channel,
        attachments=dossier.attachments,
        note=dossier.note,
        allowed=standing.allowed,
        history=_history(file, standing, now),
    )


def _history(file: DossierFile, standing: Standing, now: datetime) -> list[LineShown]:
    lines = []
    for place, entry in enumerate(file.entries):
        match entry:
            case Forwarding(at=at):
                lines.append(LineShown(at=at, what="forwarded"))
            case FollowUp():
                lines.append(
                    LineShown(
                        at=entry.at,
                        what=entry.kind,
                        text=entry.text,
                        score=entry.score,
                        answer_due=entry.answer_due,
                        request=entry.request,
                        reason=entry.reason,
                    )
                )
            case Made():
                told_since = any(isinstance(later, FollowUp) for later in file.entries[place:])
                refusal = standing.refused.get(entry.id)
                lines.append(
                    LineShown(
                        at=entry.at,
                        what=entry.action,
                        text=entry.text,
                        id=entry.id,
                        form=entry.form,
                        officer=entry.officer_name,
                        proposed=entry.proposed,
                        status=_status(entry, refusal, told_since, now),
                        reason=refusal.reason if refusal else None,
                    )
                )
    return lines


def _status(made: Made, refusal: FollowUp | None, told_since: bool, now: datetime) -> Status:
    if refusal:
        return "refused"
    if not made.sent:
        return "unsent"
    return "sent" if told_since or now - made.at > REGISTERING else "registering"


def show_listed(row: Listed, now: datetime) -> ListedShown:
    """A line of the list as it is now."""
    standing = Standing(row.state, row.answer_due, {})
    return ListedShown(
        complaint_id=row.complaint_id,
        reference=row.reference,
        state=row.state,
        late=standing.late(now),
        received_at=row.received_at,
        answer_due=row.answer_due,
        nature=row.nature,
        excerpt=row.excerpt,
        commune=row.commune,
        place=row.place,
    )
