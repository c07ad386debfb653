"""A case as tracking shows it, and what a citizen or an agent asks of it.

Values that may grow (states, kinds, reasons) are plain strings here: a client goes on when a new one comes.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chikaya_contracts.ids import new_id
from pydantic import BaseModel, ConfigDict

from .errors import Unavailable
from .rest import Service, bearer, segment

SETTLING_S = 0.25
"""Seconds between two looks at what became of a request."""


class _Open(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Words(_Open):
    """The same in French and Arabic."""

    fr: str
    ar: str


class Named(_Open):
    """An administration by name."""

    slug: str
    name_fr: str
    name_ar: str


class CaseDeadlines(_Open):
    """Last instants of the relay and of the answer; `paused` while the citizen's answer is awaited."""

    relay: datetime
    answer: datetime
    paused: bool = False


class HistoryLine(_Open):
    """Something that happened. `type` is a short name of the table of states; `text` the words that came with it."""

    sequence: int
    type: str
    at: datetime
    state: str
    administration: Named | None = None
    text: str | None = None
    question: str | None = None
    asked_by: str | None = None
    reason: str | None = None
    score: int | None = None
    threshold: str | None = None
    due: datetime | None = None
    by: str | None = None


class OpenQuestion(_Open):
    """What the citizen is asked: in words, or one of a fixed list (`place`, `request`, `service`)."""

    asked_by: str
    at: datetime
    text: str | None = None
    question: str | None = None


class Rating(_Open):
    """How the citizen has rated the answer, 1-5."""

    score: int
    text: str | None = None


class FiledAttachment(_Open):
    """A file by name; `size` in bytes."""

    filename: str
    media_type: str
    size: int


class CaseContact(_Open):
    """Whom an agent speaks with."""

    name: str
    phone: str | None = None
    email: str | None = None


class Notice(_Open):
    """What became of a notice to the citizen; `outcome` is sent, failed or skipped."""

    notice: str
    by: str
    language: str
    at: datetime
    outcome: str
    reason: str | None = None


class Case(_Open):
    """A case. `allowed` is what may be asked of it now; `contact` is there for agents, `notices` for staff."""

    complaint_id: str
    reference: str
    reference_spoken: str
    nature: str
    channel: str
    language: str
    received_at: datetime
    text: str
    state: str
    state_name: Words
    told: Words
    administration: Named | None = None
    deadlines: CaseDeadlines
    question: OpenQuestion | None = None
    answer: str | None = None
    answered_at: datetime | None = None
    rejection: str | None = None
    rating: Rating | None = None
    allowed: Sequence[str] = ()
    history: Sequence[HistoryLine] = ()
    attachments: Sequence[FiledAttachment] = ()
    contact: CaseContact | None = None
    notices: Sequence[Notice] | None = None


class ListedCase(_Open):
    """A case in a list."""

    complaint_id: str
    reference: str
    reference_spoken: str
    nature: str
    state: str
    state_name: Words
    received_at: datetime
    administration: Named | None = None


class Page(_Open):
    """A page of a list, newest first; `next` is the `after` of the page that follows, None on the last."""

    complaints: Sequence[ListedCase]
    next: str | None = None


class Asked(_Open):
    """What became of a request: `status` is pending, applied or refused; `message` says why it was refused."""

    request_id: str
    status: str
    reason: str | None = None
    message: Words | None = None


class Tracking(Service):
    """Tracking's API. A citizen shows an access code; staff show an OIDC `token` in its place."""

    async def case(self, reference: str, access_code: str | None = None, *, token: str | None = None) -> Case:
        """The case of that reference, which may have spaces and Arabic digits, as people write it.

        Raises:
            NotFound: wrong code, or filed minutes ago: the service does not tell which.
            Refused: the reference is mistyped; its check digits show it.
            TooManyTries: too many wrong codes.
            NotAllowed: the token's roles do not allow it.
            Unavailable: tracking is away.
        """
        return Case.model_validate(await self._call("GET", _path(reference), headers=_as(access_code, token)))

    async def request(
        self,
        reference: str,
        access_code: str | None,
        kind: str,
        text: str | None = None,
        score: int | None = None,
        *,
        token: str | None = None,
        idempotency_key: str | None = None,
    ) -> Asked:
        """Asks something of a case: recorded when this returns, decided soon after (see `outcome`).

        Args:
            kind: one of `Case.allowed`: `answer-question`, `supplement`, `withdraw`, `rate`, `reopen`.
            text: required but to rate or withdraw.
            score: 1-5, to rate.
            idempotency_key: make it when the form is shown: sent twice, it is one request. Each call has its own by
                default.

        Raises:
            Conflict: the case's state does not allow it; `errors` says why, in French and Arabic.
            Refused: a text or a score is missing or wrong.
            NotFound, TooManyTries, NotAllowed, Unavailable: as for `case`.
        """
        body: dict[str, Any] = {"kind": kind, "text": text, "score": score}
        return Asked.model_validate(
            await self._call(
                "POST",
                f"{_path(reference)}/requests",
                json={name: value for name, value in body.items() if value is not None},
                headers={**_as(access_code, token), "Idempotency-Key": idempotency_key or new_id()},
            )
        )

    async def outcome(
        self, reference: str, access_code: str | None, request_id: str, *, token: str | None = None
    ) -> Asked:
        """What became of a request; pending until it is decided.

        Raises:
            NotFound, TooManyTries, NotAllowed, Unavailable: as for `case`.
        """
        path = f"{_path(reference)}/requests/{segment(request_id)}"
        return Asked.model_validate(await self._call("GET", path, headers=_as(access_code, token)))

    async def settled(
        self,
        reference: str,
        access_code: str | None,
        request_id: str,
        *,
        token: str | None = None,
        within_s: float = 3.0,
    ) -> Asked:
        """As `outcome`, asked again until the request is decided or `within_s` seconds have passed; pending then, and
        pending too when tracking is away meanwhile: what is asked is recorded.

        Raises:
            NotFound, NotAllowed: as for `case`.
        """
        waited = 0.0
        while True:
            try:
                asked = await self.outcome(reference, access_code, request_id, token=token)
            except Unavailable:
                return Asked(request_id=request_id, status="pending")
            if asked.status != "pending" or waited >= within_s:
                return asked
            await self._sleep(SETTLING_S)
            waited += SETTLING_S

    async def find(self, telephone: str, *, token: str, after: str | None = None) -> Page:
        """Cases of a caller's telephone number, for an agent.

        Raises:
            Refused: this is no telephone number.
            NotAllowed: the token is not an agent's.
            Unavailable: tracking is away.
        """
        query = {"telephone": telephone} | ({"after": after} if after else {})
        return Page.model_validate(await self._call("GET", "/v1/complaints", params=query, headers=bearer(token)))


def _path(reference: str) -> str:
    return f"/v1/complaints/{segment(reference)}"


def _as(access_code: str | None, token: str | None) -> dict[str, str]:
    """Who asks. Tracking takes one who shows an access code for a citizen, so that only one of both is sent."""
    if (access_code is None) == (token is None):
        raise ValueError("give an access code, or a token")
    return bearer(token) if token is not None else {"Access-Code": access_code or ""}
