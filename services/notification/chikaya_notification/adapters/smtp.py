"""E-mail by SMTP, over connections that are kept for many mails."""

import re
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any, Literal

import aiosmtplib
from aiosmtplib import errors as smtp
from chikaya_contracts.submission import NoticeLanguage
from chikaya_servicekit.clock import Clock

from ..domain.delivery import Away, Deferred, Refused
from ..domain.wording import Mail

TIMEOUT_S, LEAVE_WITHIN_S = 20.0, 2.0
CLOSING = 421  # RFC 5321, 3.8: the server closes the channel, whatever the command was
Tls = Literal["none", "starttls", "tls"]


class Mailer:
    """Hands mails over to one server, each caller on a connection of its own.

    Args:
        sender: as in a From header; its domain ends the Message-Ids.
    """

    def __init__(
        self, host: str, port: int, sender: str, clock: Clock, *, user: str = "", password: str = "", tls: Tls = "none"
    ) -> None:
        name, self._from = parseaddr(sender)
        self._sender, self._clock = Address(name, addr_spec=self._from), clock
        self._options: dict[str, Any] = {
            "hostname": host,
            "port": port,
            "username": user or None,
            "password": password or None,
            "use_tls": tls == "tls",
            "start_tls": tls == "starttls",
            "timeout": TIMEOUT_S,
        }
        self._kept: list[aiosmtplib.SMTP] = []

    async def send(self, id: str, to: str, mail: Mail, language: NoticeLanguage) -> None:
        """Hands one mail over. A further copy of it has the same Message-Id.

        Raises:
            Refused, Deferred, Away: the server did not take it.
        """
        message = self._message(id, to, mail, language)
        while self._kept:
            client = self._kept.pop()
            if client.is_connected:
                try:
                    return await self._transfer(client, message, to)
                except smtp.SMTPServerDisconnected:
                    # Kept for so long that the server had hung up: that was no try.
                    continue
        try:
            await self._transfer(await self._connected(), message, to)
        except smtp.SMTPServerDisconnected as error:
            raise Deferred("the mail server hung up") from error

    async def close(self) -> None:
        """Takes leave of the server."""
        while self._kept:
            client = self._kept.pop()
            try:
                await client.quit(timeout=LEAVE_WITHIN_S)
            except (smtp.SMTPException, OSError):
                client.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        client = aiosmtplib.SMTP(**self._options)
        try:
            await client.connect()
        except smtp.SMTPResponseException as error:
            client.close()
            raise Away(f"mail server: {type(error).__name__} {error.code}") from error
        except (smtp.SMTPException, OSError) as error:
            client.close()
            raise Away(f"mail server: {type(error).__name__}") from error
        return client

    async def _transfer(self, client: aiosmtplib.SMTP, message: EmailMessage, to: str) -> None:
        try:
            await client.send_message(message, sender=self._from, recipients=[to])
        except smtp.SMTPServerDisconnected:
            raise
        except (smtp.SMTPResponseException, smtp.SMTPRecipientsRefused) as error:
            answer = error.recipients[0] if isinstance(error, smtp.SMTPRecipientsRefused) else error
            if answer.code == CLOSING:
                client.close()
            elif client.is_connected:
                self._kept.append(client)
            raise _refusal(answer) from None
        except smtp.SMTPNotSupported:
            self._kept.append(client)
            raise Refused("the mail server takes no address outside ASCII") from None
        except smtp.SMTPTimeoutError:
            client.close()
            raise Deferred("the mail server did not answer in time") from None
        except BaseException:
            # Cut off in the middle of a transaction: nothing more can be said on this connection.
            client.close()
            raise
        self._kept.append(client)

    def _message(self, id: str, to: str, mail: Mail, language: NoticeLanguage) -> EmailMessage:
        message = EmailMessage()
        try:
            message["To"] = _address(to)
        except (ValueError, IndexError, HeaderParseError):
            raise Refused("not an e-mail address") from None
        message["From"] = self._sender
        message["Subject"] = mail.subject
        message["Date"] = format_datetime(self._clock())
        message["Message-Id"] = f"<{id}@{self._sender.domain}>"
        # RFC 3834: no holiday replies, please.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        message.add_alternative(mail.html, subtype="html")
        message["Content-Language"] = language
        return message


def _address(written: str) -> Address:
    """Raises:
    ValueError, IndexError, HeaderParseError: not an address.
    """
    if written.isascii():
        return Address(addr_spec=written)
    # RFC 6532: the standard library takes no such address whole.
    if not re.fullmatch(r'[^\s<>()\[\]\\,;:@"]+@[^\s<>()\[\]\\,;:@"]+', written):
        raise ValueError("not an address")
    local, _, domain = written.partition("@")
    return Address(username=local, domain=domain)


def _refusal(error: smtp.SMTPResponseException) -> Refused | Deferred | Away:
    """By the answer's code. Its words are left out, since servers like to repeat the address in them."""
    detailed = re.search(r"\b[245]\.\d{1,3}\.\d{1,3}\b", error.message)
    said = f"the mail server answered {error.code}{f' {detailed[0]}' if detailed else ''}"
    if error.code == CLOSING or not isinstance(error, smtp.SMTPRecipientRefused | smtp.SMTPDataError):
        # The greeting, the sender, the sign-in: nothing that concerns this mail alone.
        return Away(said)
    return Refused(said) if error.code >= 500 else Deferred(said)
