"""Files beside a complaint: sent on to intake at once, then carried from page to page as signed notes of them."""

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chikaya_sdk import ChikayaError, Intake, Refused
from itsdangerous import BadSignature, URLSafeSerializer
from starlette.datastructures import UploadFile

MOST = 5
MOST_BYTES = 20 * 1024 * 1024
LIFE_S = 23 * 3600
"""Intake keeps a file that no complaint names for a day."""
ACCEPTED = ".jpg,.jpeg,.png,.webp,.heic,.pdf,.docx,.odt,.mp3,.ogg,.m4a,.mp4"


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that intake holds; `note` is what a form carries of it."""

    id: str
    filename: str
    note: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a file was not kept: `size`, `type`, `many`, `empty`, `expired` or `away`."""

    filename: str
    why: str


class Attachments:
    """Keeps files at intake.

    Args:
        secret: signs the notes.
        now: seconds since the epoch.
    """

    def __init__(self, intake: Intake, secret: str, now: Callable[[], float] = time.time) -> None:
        self._intake, self._now = intake, now
        self._signer = URLSafeSerializer(secret, salt="attachments", signer_kwargs={"digest_method": hashlib.sha256})

    def carried(self, notes: Iterable[str]) -> tuple[list[Kept], list[Trouble]]:
        """The files that a form's notes speak of; a note that this portal did not write is nothing."""
        kept: list[Kept] = []
        troubles: list[Trouble] = []
        for note in notes:
            try:
                until, file_id, filename = self._signer.loads(note)
            except (BadSignature, ValueError, TypeError):
                continue
            if until <= self._now():
                troubles.append(Trouble(filename, "expired"))
            elif all(file_id != other.id for other in kept):
                kept.append(Kept(file_id, filename, note))
        return kept[:MOST], troubles

    async def keep(self, files: Iterable[UploadFile], room: int) -> tuple[list[Kept], list[Trouble]]:
        """Sends files on to intake, `room` of them at most."""
        kept: list[Kept] = []
        troubles: list[Trouble] = []
        for file in files:
            filename = (file.filename or "").replace("\\", "/").rpartition("/")[2][:120]
            if not filename:
                continue
            if len(kept) >= room:
                troubles.append(Trouble(filename, "many"))
                continue
            if file.size is not None and file.size > MOST_BYTES:
                troubles.append(Trouble(filename, "size"))
                continue
            content = await file.read()
            if not content:
                troubles.append(Trouble(filename, "empty"))
                continue
            try:
                file_id = await self._intake.attach(filename, content, file.content_type or "application/octet-stream")
            except Refused as refused:
                troubles.append(Trouble(filename, "size" if refused.problem.get("status") == 413 else "type"))
            except ChikayaError:
                troubles.append(Trouble(filename, "away"))
            else:
                kept.append(Kept(file_id, filename, self._note(file_id, filename)))
        return kept, troubles

    def _note(self, file_id: str, filename: str) -> str:
        return str(self._signer.dumps([self._now() + LIFE_S, file_id, filename]))
