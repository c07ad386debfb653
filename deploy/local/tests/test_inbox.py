"""The local inbox as its users meet it: a real process, real SMTP, real HTTP."""

import asyncio
import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import httpx
import psutil
import pytest
from chikaya_local.inbox.mail import message_id_of
from chikaya_local.inbox.store import Store

PORT = 22025  # SMTP is on the next one.
URL = f"http://127.0.0.1:{PORT}"
TOKEN = "a-token-for-tests-only"


@contextmanager
def inbox(
    data_dir: Path, port: int = PORT, stop_with: signal.Signals = signal.SIGTERM
) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "CHIKAYA_PORT": str(port),
        "CHIKAYA_SMTP_PORT": str(port + 1),
        "CHIKAYA_SMS_TOKEN": TOKEN,
        "CHIKAYA_DATA_DIR": str(data_dir),
        "CHIKAYA_LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen([sys.executable, "-m", "chikaya_local.inbox"], env=environment)
    try:
        wait_ready(process, port)
        yield process
    finally:
        process.send_signal(stop_with)
        process.wait(15)


def wait_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "the inbox left before it was ready"
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the inbox was not ready within 20 s")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    with inbox(tmp_path_factory.mktemp("inbox")) as process:
        yield process


@pytest.fixture
def client(running: subprocess.Popen[bytes]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=URL) as client:
        client.delete("/api/messages").raise_for_status()
        client.put("/api/behaviour", json={}).raise_for_status()
        yield client


def mail(to: str, subject: str = "Reçu", text: str = "Bonjour", message_id: str | None = None) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Chikaya <ne-pas-repondre@chikaya.local>"
    message["To"] = to
    message["Subject"] = subject
    if message_id:
        message["Message-Id"] = message_id
    message.set_content(text)
    return message


def send(*messages: EmailMessage, port: int = PORT) -> None:
    with smtplib.SMTP("127.0.0.1", port + 1) as smtp:
        for message in messages:
            smtp.send_message(message)


def send_sms(
    client: httpx.Client, to: str = "+212612345678", key: str = "k1", token: str = TOKEN, host: str = "127.0.0.1"
) -> httpx.Response:
    sms = {"to": to, "text": "توصلنا بشكايتكم", "idempotency_key": key}
    return client.post("/sms", json=sms, headers={"Authorization": f"Bearer {token}", "Host": f"{host}:{PORT}"})


def test_a_mail_in_arabic_and_html_is_read_back_decoded(client: httpx.Client) -> None:
    message = mail("Amina@Example.ma", "توصلنا بشكايتكم", "مرحبا أمينة")
    message.add_alternative("<html dir='rtl'><p>مرحبا <b>أمينة</b></p></html>", subtype="html")
    send(message)
    [kept] = client.get("/api/messages", params={"to": "amina@example.ma", "kind": "email"}).json()["messages"]
    assert kept["subject"] == "توصلنا بشكايتكم"
    assert kept["text"].strip() == "مرحبا أمينة"
    assert "<b>أمينة</b>" in kept["html"]
    page = client.get(f"/messages/{kept['key']}").text
    assert "مرحبا أمينة" in page
    assert "sandbox=" in page
    assert "&lt;b&gt;أمينة&lt;/b&gt;" in page
    raw = client.get(f"/api/messages/{kept['key']}/raw")
    assert b"multipart/alternative" in raw.content
    assert raw.headers["content-type"].startswith("text/plain")


def test_a_script_in_a_mail_is_never_part_of_the_page(client: httpx.Client) -> None:
    message = mail("a@example.ma", "<script>alert(1)</script>", "<script>alert(2)</script>")
    message.add_alternative("<script>alert(3)</script>", subtype="html")
    send(message)
    [kept] = client.get("/api/messages").json()["messages"]
    assert "<script>" not in client.get("/").text
    answer = client.get(f"/messages/{kept['key']}")
    assert "<script>" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_mail_with_a_known_message_id_is_kept_and_marked(client: httpx.Client) -> None:
    once = mail("a@example.ma", message_id="<1@chikaya.local>")
    send(
        once,
        once,
        mail("a@example.ma", message_id="<2@chikaya.local>"),
        mail("b@example.ma", message_id="<1@chikaya.local>"),
    )
    kept = client.get("/api/messages").json()["messages"]
    assert [(m["id"], m["recipient"], m["repeat"]) for m in kept] == [
        ("<1@chikaya.local>", "a@example.ma", False),
        ("<1@chikaya.local>", "a@example.ma", True),
        ("<2@chikaya.local>", "a@example.ma", False),
        ("<1@chikaya.local>", "b@example.ma", False),
    ]


def test_a_malformed_mail_is_kept_too(client: httpx.Client) -> None:
    with smtplib.SMTP("127.0.0.1", PORT + 1) as smtp:
        smtp.sendmail(
            "x@y.ma",
            ["a@example.ma"],
            b"Subject: =?utf-9?b?!!\r\nContent-Type: text/plain; charset=nope\r\n\r\n\xff\xfe",
        )
        smtp.sendmail("x@y.ma", ["a@example.ma"], b"\r\n\r\n")
    kept = client.get("/api/messages", params={"to": "a@example.ma"}).json()["messages"]
    assert len(kept) == 2
    assert all(client.get(f"/messages/{m['key']}").status_code == 200 for m in kept)


def test_an_sms_is_kept_once_and_a_repeated_key_gives_the_same_id(client: httpx.Client) -> None:
    first, again = send_sms(client), send_sms(client)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert [m["repeat"] for m in client.get("/api/messages", params={"kind": "sms"}).json()["messages"]] == [
        False,
        True,
    ]
    # A + that was not escaped is a space on arrival.
    assert len(client.get("/api/messages?to=+212612345678").json()["messages"]) == 2


@pytest.mark.parametrize("to", ["0612345678", "+0612345678", "212612345678", "+21261234567890123", "+2126x"])
def test_a_number_that_is_not_e164_is_refused_with_its_field(client: httpx.Client, to: str) -> None:
    answer = send_sms(client, to=to)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == "to"


def test_the_gateway_asks_for_its_token(client: httpx.Client) -> None:
    answer = send_sms(client, token="another-token-altogether")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/api/messages").json()["messages"] == []


def test_the_gateway_answers_by_any_name_and_the_messages_do_not(client: httpx.Client) -> None:
    assert send_sms(client, host="inbox").status_code == 201
    assert client.get("/readyz", headers={"Host": "inbox:8025"}).status_code == 200
    for path in ("/", "/api/messages", "/messages/1", "/docs"):
        assert client.get(path, headers={"Host": "inbox:8025"}).status_code == 400
    assert client.get("/api/messages", headers={"Host": f"localhost:{PORT}"}).status_code == 200


def test_an_incomplete_sms_names_its_fields(client: httpx.Client) -> None:
    answer = client.post("/sms", json={"to": "+212612345678"}, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 422
    assert [e["field"] for e in answer.json()["errors"]] == ["text", "idempotency_key"]


def test_reading_goes_on_from_the_last_key(client: httpx.Client) -> None:
    send(*(mail("a@example.ma", f"n{n}") for n in range(5)))
    first = client.get("/api/messages", params={"limit": 3}).json()
    rest = client.get("/api/messages", params={"after": first["next"]}).json()
    assert [m["subject"] for m in first["messages"] + rest["messages"]] == ["n0", "n1", "n2", "n3", "n4"]
    end = client.get("/api/messages", params={"after": rest["next"]}).json()
    assert end == {"messages": [], "next": rest["next"]}


def test_who_counts_copies_need_not_have_them_read(client: httpx.Client) -> None:
    once = mail("a@example.ma", message_id="<1@chikaya.local>")
    send(once, once)
    counted = client.get("/api/messages", params={"content": False}).json()["messages"]
    assert [(m["id"], m["repeat"]) for m in counted] == [("<1@chikaya.local>", False), ("<1@chikaya.local>", True)]
    whole = client.get("/api/messages").json()["messages"]
    assert [{name: m[name] for name in counted[0]} for m in whole] == counted
    assert whole[0].keys() - counted[0].keys() == {"sender", "subject", "text", "html"}


@pytest.mark.parametrize(
    "written", ["Message-ID: <a@x>", "message-id:<a@x>", "MESSAGE-ID:\r\n <a@x>", "Message-Id:\n\t<a@x>"]
)
def test_a_message_id_is_found_however_it_is_written_and_in_the_headers_alone(written: str) -> None:
    assert message_id_of(f"To: b@x\r\n{written}\r\nSubject: s\r\n\r\nBonjour".encode()) == "<a@x>"
    assert message_id_of(f"To: b@x\r\n\r\n{written}\r\n".encode()) == ""


def test_the_page_shows_the_newest_first_and_pages_by_key(client: httpx.Client) -> None:
    send(*(mail("a@example.ma", f"message-{n:03}.") for n in range(60)), mail("b@example.ma", "autre"))
    page = client.get("/", params={"to": "a@"}).text
    assert page.index("message-059.") < page.index("message-010.")
    assert "message-009." not in page
    assert "autre" not in page
    older = page.split('href="/?')[1].split('"')[0].replace("&amp;", "&")
    second = client.get(f"/?{older}").text
    assert "message-009." in second
    assert "message-000." in second
    assert "message-010." not in second


def test_the_page_speaks_arabic_from_right_to_left_and_says_when_it_is_empty(client: httpx.Client) -> None:
    page = client.get("/", headers={"Accept-Language": "ar-MA,fr;q=0.5"}).text
    assert 'lang="ar" dir="rtl"' in page
    assert "لم ترسل أي رسالة بعد" in page
    assert "Rien n&#39;a encore été envoyé" in client.get("/").text


def test_delete_all_is_a_button_of_this_page_only(client: httpx.Client) -> None:
    send(mail("a@example.ma"))
    assert client.post("/delete", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.delete("/api/messages", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert len(client.get("/api/messages").json()["messages"]) == 1
    assert client.post("/delete", headers={"Origin": URL}).status_code == 303
    assert client.get("/api/messages").json()["messages"] == []


def test_it_fails_when_told_to(client: httpx.Client) -> None:
    client.put("/api/behaviour", json={"smtp": "defer", "sms": "unavailable"}).raise_for_status()
    with pytest.raises(smtplib.SMTPRecipientsRefused) as deferred:
        send(mail("a@example.ma"))
    assert deferred.value.recipients["a@example.ma"][0] == 451
    unavailable = send_sms(client)
    assert (unavailable.status_code, unavailable.headers["retry-after"]) == (503, "1")
    client.put("/api/behaviour", json={"smtp": "refuse", "sms": "refuse"}).raise_for_status()
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(mail("a@example.ma"))
    assert refused.value.recipients["a@example.ma"][0] == 550
    assert send_sms(client).status_code == 422
    assert client.put("/api/behaviour", json={"smtp": "perhaps"}).status_code == 422
    client.put("/api/behaviour", json={}).raise_for_status()
    send(mail("a@example.ma"))
    assert send_sms(client).status_code == 201
    assert len(client.get("/api/messages").json()["messages"]) == 2


def test_one_core_takes_two_hundred_mails_a_second(client: httpx.Client, running: subprocess.Popen[bytes]) -> None:
    """Counted in processor time of the inbox, so that what else runs on the machine does not matter."""

    async def sender(name: int) -> None:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=PORT + 1) as smtp:
            for n in range(60):
                await smtp.send_message(mail("a@example.ma", message_id=f"<{name}.{n}@chikaya.local>"))

    async def senders() -> None:
        await asyncio.gather(*(sender(n) for n in range(10)))

    process = psutil.Process(running.pid)
    before = process.cpu_times()
    asyncio.run(senders())
    after = process.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    kept = client.get("/api/messages", params={"limit": 1000}).json()["messages"]
    assert len({m["id"] for m in kept}) == len(kept) == 600
    assert used_s / 600 < 1 / 200


def test_what_was_taken_survives_kill_9(tmp_path: Path) -> None:
    port = PORT + 10
    with inbox(tmp_path, port, stop_with=signal.SIGKILL):
        send(*(mail("a@example.ma", f"n{n}", message_id=f"<{n}@x>") for n in range(20)), port=port)
    with inbox(tmp_path, port):
        send(mail("a@example.ma", "n0", message_id="<0@x>"), port=port)
        kept = httpx.get(f"http://127.0.0.1:{port}/api/messages").json()["messages"]
    assert [m["subject"] for m in kept] == [*(f"n{n}" for n in range(20)), "n0"]
    assert kept[-1]["repeat"]
    assert (tmp_path / "inbox.sqlite3").stat().st_mode & 0o077 == 0


def test_only_the_latest_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "inbox.sqlite3", kept=100)
    for n in range(1000):
        store.add("sms", recipient="+212600000000", raw=str(n).encode())
    assert store.count() == 100
    assert store.before(None, limit=1)[0].raw == b"999"
    store.close()
