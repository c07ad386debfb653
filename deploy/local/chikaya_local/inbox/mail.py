"""The SMTP side: takes every mail for every recipient, and can be told to refuse or defer."""

import re
from collections.abc import Callable
from typing import Literal

from aiosmtpd.smtp import SMTP, Envelope, Session

from chikaya_local.inbox.store import Store

SmtpBehaviour = Literal["ok", "refuse", "defer"]

MAX_MAIL_BYTES = 25 * 1024 * 1024
REFUSALS = {"refuse": "550 5.1.1 No such mailbox here", "defer": "451 4.7.1 Try again later"}


class MailHandler:
    """Keeps one copy for each recipient; answers as `behaviour()` says."""

    def __init__(self, store: Store, behaviour: Callable[[], SmtpBehaviour]) -> None:
        self._store = store
        self._behaviour = behaviour

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        refusal = REFUSALS.get(self._behaviour())
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(rcpt_options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        raw = envelope.original_content or b""
        message_id = message_id_of(raw)
        for recipient in envelope.rcpt_tos:
            self._store.add(
                "email",
                recipient=recipient,
                raw=raw,
                id=message_id or None,
                repeat_key=f"email\n{message_id}\n{recipient.lower()}" if message_id else None,
            )
        return "250 2.0.0 Kept"


def smtp_protocol(store: Store, behaviour: Callable[[], SmtpBehaviour]) -> Callable[[], SMTP]:
    """What `loop.create_server` wants: one protocol a connection, all writing to `store`."""
    handler = MailHandler(store, behaviour)
    return lambda: SMTP(
        handler,
        hostname="inbox.chikaya.local",
        ident="Chikaya local inbox",
        enable_SMTPUTF8=True,
        data_size_limit=MAX_MAIL_BYTES,
    )


def message_id_of(raw: bytes) -> str:
    """The Message-Id, or nothing. All that is read of a mail when it comes: the rest is read when somebody looks."""
    headers = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[0]
    found = re.search(rb"^message-id:((?:.*\r?\n[ \t])*.*)", headers, re.IGNORECASE | re.MULTILINE)
    return "".join(found[1].decode("utf-8", "replace").split()) if found else ""
