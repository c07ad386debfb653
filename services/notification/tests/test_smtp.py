"""Mail on real SMTP servers: what arrives, over how many connections, and what each way of refusing means."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from chikaya_notification.adapters.smtp import Mailer
from chikaya_notification.domain.delivery import Away, Deferred, Refused
from chikaya_notification.domain.wording import Mail

FRENCH = Mail("Votre réclamation est transmise", "Bonjour,\nà bientôt", "<p>Bonjour, à bientôt</p>")
ARABIC = Mail("تمت إحالة شكايتكم", "السلام عليكم", '<p dir="rtl">السلام عليكم</p>')


class Post:
    """A server's behaviour: what it keeps, and how it answers (`rcpt`, `data`: an answer, or None for yes)."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[tuple[str | None, list[str]]] = []
        self.connections = 0
        self.mail: str | None = None
        self.rcpt: str | None = None
        self.data: str | None = None
        self.drop_at: str | None = None
        self.transports: list[asyncio.Transport] = []

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.mail:
            return self.mail
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.drop_at == "rcpt":
            self.drop()
        if self.rcpt:
            return self.rcpt
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.data:
            return self.data
        message = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        self.mails.append(message)
        self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        return "250 OK"

    def drop(self) -> None:
        """Hangs up on everybody."""
        for transport in self.transports:
            transport.close()

    def protocol(self, utf8: bool = True) -> SMTP:
        post = self

        class Counting(SMTP):
            def connection_made(self, transport: Any) -> None:
                post.connections += 1
                post.transports.append(transport)
                super().connection_made(transport)

        return Counting(self, enable_SMTPUTF8=utf8, hostname="post.example")


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
async def port(post: Post, free_port: Callable[[], int]) -> AsyncIterator[int]:
    port = free_port()
    server = await asyncio.get_running_loop().create_server(post.protocol, "127.0.0.1", port)
    yield port
    server.close()
    post.drop()


@pytest.fixture
async def mailer(port: int, clock: Any) -> AsyncIterator[Mailer]:
    mailer = Mailer("127.0.0.1", port, "Chikaya <ne-pas-repondre@chikaya.example>", clock)
    yield mailer
    await mailer.close()


@pytest.mark.parametrize(("mail", "language"), [(FRENCH, "fr"), (ARABIC, "ar")])
async def test_a_mail_arrives_as_it_was_written(mail: Mail, language: Any, mailer: Mailer, post: Post) -> None:
    await mailer.send("id-1", "nadia@example.com", mail, language)
    [arrived] = post.mails
    assert post.envelopes == [("ne-pas-repondre@chikaya.example", ["nadia@example.com"])]
    assert arrived["Message-Id"] == "<id-1@chikaya.example>"
    assert arrived["Subject"] == mail.subject
    assert arrived["From"] == "Chikaya <ne-pas-repondre@chikaya.example>"
    assert arrived["To"] == "nadia@example.com"
    assert arrived["Content-Language"] == language
    assert arrived["Auto-Submitted"] == "auto-generated"
    assert arrived["Date"].datetime.year == 2026
    text, html = arrived.get_body(("plain",)), arrived.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().splitlines() == mail.text.splitlines()
    assert html.get_content().strip() == mail.html


async def test_many_mails_go_over_one_connection(mailer: Mailer, post: Post) -> None:
    for number in range(20):
        await mailer.send(f"id-{number}", "nadia@example.com", FRENCH, "fr")
    assert (len(post.mails), post.connections) == (20, 1)


async def test_mails_at_once_go_over_as_many_connections_and_these_are_kept(mailer: Mailer, post: Post) -> None:
    for _ in range(3):
        await asyncio.gather(*(mailer.send(f"id-{n}", "nadia@example.com", FRENCH, "fr") for n in range(4)))
    assert (len(post.mails), post.connections) == (12, 4)


async def test_a_kept_connection_that_the_server_has_closed_is_made_anew(mailer: Mailer, post: Post) -> None:
    await mailer.send("id-1", "nadia@example.com", FRENCH, "fr")
    post.drop()
    await mailer.send("id-2", "nadia@example.com", FRENCH, "fr")
    assert (len(post.mails), post.connections) == (2, 2)


@pytest.mark.parametrize(
    ("stage", "answer", "error", "said"),
    [
        ("rcpt", "550 5.1.1 <nadia@example.com> unknown", Refused, "the mail server answered 550 5.1.1"),
        ("rcpt", "553 no such nadia@example.com", Refused, "the mail server answered 553"),
        ("rcpt", "451 4.7.1 grey", Deferred, "the mail server answered 451 4.7.1"),
        ("data", "554 5.7.1 spam", Refused, "the mail server answered 554 5.7.1"),
        ("data", "452 4.3.1 full", Deferred, "the mail server answered 452 4.3.1"),
        ("rcpt", "421 4.3.2 closing", Away, "the mail server answered 421 4.3.2"),
        ("mail", "530 5.7.0 sign in first", Away, "the mail server answered 530 5.7.0"),
        ("mail", "451 4.3.0 later", Away, "the mail server answered 451 4.3.0"),
    ],
)
async def test_each_answer_means_what_it_says_and_the_reason_holds_no_address(
    stage: str, answer: str, error: type[Exception], said: str, mailer: Mailer, post: Post
) -> None:
    setattr(post, stage, answer)
    with pytest.raises(error) as raised:
        await mailer.send("id-1", "nadia@example.com", FRENCH, "fr")
    assert str(raised.value) == said
    setattr(post, stage, None)
    await mailer.send("id-1", "nadia@example.com", FRENCH, "fr")
    assert len(post.mails) == 1


async def test_a_refusal_keeps_the_connection(mailer: Mailer, post: Post) -> None:
    post.rcpt = "550 no"
    for number in range(3):
        with pytest.raises(Refused):
            await mailer.send(f"id-{number}", "nadia@example.com", FRENCH, "fr")
    assert post.connections == 1


async def test_no_server_is_away(free_port: Callable[[], int], clock: Any) -> None:
    with pytest.raises(Away):
        await Mailer("127.0.0.1", free_port(), "a@b.example", clock).send("id", "nadia@example.com", FRENCH, "fr")


async def test_a_server_that_greets_with_a_refusal_is_away(free_port: Callable[[], int], clock: Any) -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 5.3.2 not now\r\n")
        await writer.drain()
        writer.close()

    port = free_port()
    async with await asyncio.start_server(refuse, "127.0.0.1", port):
        with pytest.raises(Away):
            await Mailer("127.0.0.1", port, "a@b.example", clock).send("id", "nadia@example.com", FRENCH, "fr")


async def test_a_server_that_hangs_up_on_a_mail_has_the_mail_deferred(mailer: Mailer, post: Post) -> None:
    post.drop_at = "rcpt"
    with pytest.raises(Deferred):
        await mailer.send("id-1", "nadia@example.com", FRENCH, "fr")


async def test_a_send_that_is_cut_off_leaves_no_connection_behind_in_the_middle_of_a_mail(
    mailer: Mailer, post: Post
) -> None:
    held = asyncio.Event()
    handle_data = post.handle_DATA

    async def hold(*args: Any) -> str:
        await held.wait()
        return await handle_data(*args)

    post.handle_DATA = hold  # type: ignore[assignment,method-assign]
    sending = asyncio.create_task(mailer.send("id-1", "nadia@example.com", FRENCH, "fr"))
    while not post.connections:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    held.set()
    await mailer.send("id-2", "nadia@example.com", FRENCH, "fr")
    assert post.mails[-1]["Message-Id"] == "<id-2@chikaya.example>"
    assert post.connections == 2


@pytest.mark.parametrize(
    "address", ["", "nadia", "a@b@c", "<nadia@example.com", "nadia@example.com\r\nBcc: all@x.ma", "ن\r\n@x.ma"]
)
async def test_what_is_no_address_is_refused_and_injects_nothing(address: str, mailer: Mailer, post: Post) -> None:
    with pytest.raises(Refused) as raised:
        await mailer.send("id-1", address, FRENCH, "fr")
    assert str(raised.value) == "not an e-mail address"
    assert post.mails == []


async def test_an_address_outside_ascii_goes_where_the_server_takes_it(
    mailer: Mailer, post: Post, free_port: Callable[[], int], clock: Any
) -> None:
    await mailer.send("id-1", "نادية@example.com", ARABIC, "ar")
    assert post.envelopes[0][1] == ["نادية@example.com"]
    port, plain = free_port(), Post()
    async with await asyncio.get_running_loop().create_server(lambda: plain.protocol(utf8=False), "127.0.0.1", port):
        old = Mailer("127.0.0.1", port, "a@b.example", clock)
        with pytest.raises(Refused):
            await old.send("id-1", "نادية@example.com", ARABIC, "ar")
        await old.send("id-2", "nadia@example.com", ARABIC, "ar")
        await old.close()
    assert plain.connections == 1
