"""E-mail by SMTP, over connections that are kept for many mails."""

import base64
import re
from email.utils import format_datetime, formataddr, parseaddr
from typing import Any, Literal

import aiosmtplib
from aiosmtplib import errors as smtp
from chikaya_contracts.submission import NoticeLanguage
from chikaya_servicekit.clock import Clock

from ..domain.delivery import Away, Deferred, Refused
from ..domain.wording import Mail

TIMEOUT_S, LEAVE_WITHIN_S = 20.0, 2.0
CLOSING = 421  # RFC 5321, 3.8: the server closes the channel, whatever the command was
CRLF = "\r\n"
LONGEST_WORD = 45  # bytes: RFC 2047 gives an encoded word 75 characters in all
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
        self._sender, self._domain = formataddr((name, self._from)), self._from.rpartition("@")[2]
        self._clock = clock
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

    async def _transfer(self, client: aiosmtplib.SMTP, message: bytes, to: str) -> None:
        options = [] if to.isascii() else ["SMTPUTF8"]
        try:
            await client.sendmail(self._from, [to], message, mail_options=options)
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

    def _message(self, id: str, to: str, mail: Mail, language: NoticeLanguage) -> bytes:
        """The mail as it goes over the line (RFC 5322, 2045, 2046).

        Put together here, since all mails have one form: the standard library's `EmailMessage` parses each header that
        it is given and takes twenty times as long.
        """
        if not _is_address(to):
            raise Refused("not an e-mail address")
        # An underscore is no letter of base64: no line of a part can be taken for the boundary.
        boundary = f"_{id}_"
        headers = [
            f"To: {to}",
            f"From: {self._sender}",
            f"Subject: {_encoded_words(mail.subject)}",
            f"Date: {format_datetime(self._clock())}",
            f"Message-Id: <{id}@{self._domain}>",
            # RFC 3834: no holiday replies, please.
            "Auto-Submitted: auto-generated",
            f"Content-Language: {language}",
            "MIME-Version: 1.0",
            f'Content-Type: multipart/alternative; boundary="{boundary}"',
        ]
        parts = [_part("plain", mail.text), _part("html", mail.html)]
        body = "".join(f"{CRLF}--{boundary}{CRLF}{part}" for part in parts)
        return f"{CRLF.join(headers)}{CRLF}{body}{CRLF}--{boundary}--{CRLF}".encode()


def _encoded_words(text: str) -> str:
    """A header's text (RFC 2047), a word a line, each of whole characters."""
    words = [b""]
    for character in text:
        encoded = character.encode()
        if len(words[-1]) + len(encoded) > LONGEST_WORD:
            words.append(b"")
        words[-1] += encoded
    return f"{CRLF} ".join(f"=?utf-8?b?{base64.b64encode(word).decode('ascii')}?=" for word in words)


def _part(subtype: str, text: str) -> str:
    encoded = base64.encodebytes(text.encode()).decode("ascii").replace("\n", CRLF)
    return f'Content-Type: text/{subtype}; charset="utf-8"{CRLF}Content-Transfer-Encoding: base64{CRLF}{CRLF}{encoded}'


def _is_address(written: str) -> bool:
    """Whether it can stand in a header and in an envelope as it is: one local part and one domain, no white space and
    none of the characters that part addresses (RFC 5321, and 6531 for letters outside ASCII)."""
    return bool(re.fullmatch(r'[^\s<>()\[\]\\,;:@"]+@[^\s<>()\[\]\\,;:@"]+', written)) and written.isprintable()


def _refusal(error: smtp.SMTPResponseException) -> Refused | Deferred | Away:
    """By the answer's code. Its words are left out, since servers like to repeat the address in them."""
    detailed = re.search(r"\b[245]\.\d{1,3}\.\d{1,3}\b", error.message)
    said = f"the mail server answered {error.code}{f' {detailed[0]}' if detailed else ''}"
    if error.code == CLOSING or not isinstance(error, smtp.SMTPRecipientRefused | smtp.SMTPDataError):
        # The greeting, the sender, the sign-in: nothing that concerns this mail alone.
        return Away(said)
    return Refused(said) if error.code >= 500 else Deferred(said)
