"""Which files may accompany a complaint, what they are called, and the links that open them for a while."""

import hashlib
import hmac
import unicodedata
from datetime import datetime, timedelta

import filetype

MAX_BYTES = 20 * 1024 * 1024
HEAD_BYTES = 8192  # what recognising a type needs at most
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


def signature(secret: bytes, attachment_id: str, expires: int) -> str:
    """What makes a link to an attachment valid until `expires` (seconds since the epoch)."""
    return hmac.new(secret, f"{attachment_id}\n{expires}".encode(), hashlib.sha256).hexdigest()


def opens(secret: bytes, attachment_id: str, expires: int, signed: str, now: datetime) -> bool:
    """Whether a link opens the attachment now."""
    return hmac.compare_digest(signature(secret, attachment_id, expires).encode(), signed.encode()) and (
        now.timestamp() < expires
    )
