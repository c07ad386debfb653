"""What a kept message says, read from its bytes when somebody looks at it."""

import json
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from typing import Literal

from chikaya_local.inbox.store import Copy


@dataclass(frozen=True)
class Content:
    """What a reader sees of a message. An SMS has its text alone."""

    sender: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""


def content(copy: Copy) -> Content:
    """The content of a mail or of an SMS."""
    if copy.kind == "sms":
        return Content(text=json.loads(copy.raw)["text"])
    mail = message_from_bytes(copy.raw)
    return Content(_header(mail, "From"), _header(mail, "Subject"), _part(mail, "plain"), _part(mail, "html"))


def _header(mail: Message, name: str) -> str:
    """A header, decoded; as it stands when it is broken: a malformed mail is shown, never refused."""
    written = str(mail.get(name, ""))
    try:
        return str(make_header(decode_header(written)))
    except (ValueError, LookupError, HeaderParseError):
        return written


def _part(mail: Message, subtype: Literal["plain", "html"]) -> str:
    """The first text part of that subtype, decoded; unknown character sets are read as UTF-8 with replacements."""
    for part in mail.walk():
        if part.get_content_type() == f"text/{subtype}" and part.get_content_disposition() != "attachment":
            payload = part.get_payload(decode=True)
            data = payload if isinstance(payload, bytes) else b""
            try:
                return data.decode(part.get_content_charset("utf-8"), "replace")
            except LookupError:
                return data.decode("utf-8", "replace")
    return ""
