"""Which files may accompany a complaint, what they are called, and the links that open them for a while."""

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

import filetype

MAX_BYTES = 20 * 1024 * 1024
HEAD_BYTES = 8192  # what recognising a type needs at most
DOSSIER_LINK_FOR = timedelta(days=190)
"""How long the link in a dossier is good: relay (15 days), answer (60), and one reopening (30 to ask for it, 60 to
answer again), with some to spare for deadlines that move to a working day."""
UNCLAIMED_FOR = timedelta(hours=24)
NAME_LENGTH = 120

EXTENSIONS: dict[str, tuple[str, ...]] = {
    "image/jpeg": ("jpg", "jpeg"),
    "image/png": ("png",),
    "image/webp": ("webp",),
    "image/heic": ("heic", "heif"),
    "application/pdf": ("pdf",),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ("docx",),
    "application/vnd.oasis.opendocument.text": ("odt",),
    "audio/mpeg": ("mp3",),
    "audio/ogg": ("ogg", "oga", "opus"),
    "audio/mp4": ("m4a",),
    "video/mp4": ("mp4",),
}
"""The types that are taken, and the endings that their files may bear; the first is given to those with another."""


class TooLarge(Exception):
    """The file has more than `MAX_BYTES`."""


class UnsupportedType(Exception):
    """The content is of no type in `EXTENSIONS`."""


def media_type(head: bytes) -> str:
    """The type of a file by its first `HEAD_BYTES`; what the sender says it is does not count.

    Raises:
        UnsupportedType: not one that is taken.
    """
    kind = filetype.guess(head)
    if kind is None or kind.mime not in EXTENSIONS:
        raise UnsupportedType
    return str(kind.mime)


def safe_name(claimed: str, type: str) -> str:
    """A name that is safe on every system: no folders, no control or direction marks, the ending of its type."""
    base = claimed.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join("_" if c in '<>:"|?*' else c for c in base if unicodedata.category(c)[0] not in "CZ" or c == " ")
    stem, dot, ending = kept.rstrip(" .").rpartition(".")
    endings = EXTENSIONS[type]
    if not dot or ending.lower() not in endings:
        stem, ending = kept.strip(" ."), endings[0]
    room = NAME_LENGTH - len(ending) - 1
    return f"{stem.strip(' .')[:room] or 'document'}.{ending}"


@dataclass(frozen=True, slots=True)
class Links:
    """Links that open an attachment for whoever has them, until they expire. `secret` signs; `public_url` is where
    they lead, with no slash at its end."""

    secret: bytes
    public_url: str

    def signature(self, attachment_id: str, expires: int) -> str:
        """What makes a link valid until `expires` (seconds since the epoch)."""
        return hmac.new(self.secret, f"{attachment_id}\n{expires}".encode(), hashlib.sha256).hexdigest()

    def url(self, attachment_id: str, expires: int) -> str:
        """A link that is good until `expires`."""
        query = f"expires={expires}&signature={self.signature(attachment_id, expires)}"
        return f"{self.public_url}/v1/attachments/{quote(attachment_id, safe='')}?{query}"

    def opens(self, attachment_id: str, expires: int, signed: str, now: datetime) -> bool:
        """Whether a link opens the attachment now."""
        wanted = self.signature(attachment_id, expires).encode()
        return hmac.compare_digest(wanted, signed.encode()) and now.timestamp() < expires
