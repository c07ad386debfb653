"""For channel teams over HTTP: submit a complaint, attach files, get the receipt."""

from datetime import datetime
from typing import Literal, Unpack

from chikaya_contracts.ids import new_id
from chikaya_contracts.submission import Submission
from pydantic import BaseModel, ConfigDict

from .rest import Options, Service, bearer, segment


class Receipt(BaseModel):
    """What the citizen is given: the reference and the access code open the case, by screen or by telephone.

    `deadlines` are the last instants at which the relay and the answer are still in time.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    complaint_id: str
    reference: str
    access_code: str
    received_at: datetime
    deadlines: dict[Literal["relay", "answer"], datetime]


class Link(BaseModel):
    """Opens an attachment, for whoever has it, until `expires` (seconds since the epoch)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    expires: int


class Intake(Service):
    """Intake's API, with the key that names your channel; staff need none (see `link`)."""

    def __init__(self, url: str, key: str = "", **options: Unpack[Options]) -> None:
        super().__init__(url, **options)
        self._headers = {"X-API-Key": key} if key else {}

    async def submit(self, submission: Submission, idempotency_key: str | None = None) -> Receipt:
        """Submits a complaint and gives its receipt.

        The same key and body give the same receipt, whatever broke in between: keep the key with what you submit
        and use it again after a crash. Without one, only the tries of this call share a key.

        Raises:
            Refused: a field is wrong; says which, in French and Arabic.
            Conflict: the key was used for another body.
            NotAllowed: the channel's key is wrong.
            Unavailable: intake is away and no reference was given; repeat later with the same key.
        """
        headers = {**self._headers, "Idempotency-Key": idempotency_key or new_id(), "Content-Type": "application/json"}
        body = submission.model_dump_json(exclude_none=True)
        return Receipt.model_validate(await self._call("POST", "/v1/complaints", content=body, headers=headers))

    async def attach(self, filename: str, content: bytes, media_type: str) -> str:
        """Uploads a file of at most 20 MB and gives its id, for `Submission.attachments`.

        Raises:
            Refused: too large, or not of an allowed type.
            Unavailable: intake is away.
        """
        files = {"file": (filename, content, media_type)}
        stored = await self._call("POST", "/v1/attachments", files=files, headers=self._headers)
        return str(stored["id"])

    async def receipt(self, sender_id: str) -> Receipt:
        """The receipt, with the access code, of a complaint that your channel submitted over Kafka as `sender_id`.

        Raises:
            NotFound: not accepted, or not yet.
            Unavailable: intake is away.
        """
        return Receipt.model_validate(
            await self._call("GET", f"/v1/receipts/{segment(sender_id)}", headers=self._headers)
        )

    async def link(self, attachment_id: str, *, token: str | None = None) -> Link:
        """A fresh link to an attachment: of your channel, or of any channel with a member of staff's OIDC `token`.

        Raises:
            NotFound: no such attachment, or another channel's.
            NotAllowed: the key or the token does not allow it.
            Unavailable: intake is away.
        """
        headers = bearer(token) if token else self._headers
        path = f"/v1/attachments/{segment(attachment_id)}/link"
        return Link.model_validate(await self._call("GET", path, headers=headers))
