"""The examples as they stand, each in a process of its own; other languages where their runtime is here."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from chikaya_contracts import ids
from chikaya_contracts.envelope import Event
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.messages.administration import Acknowledge, Answer
from chikaya_contracts.messages.channel import FieldError, SubmissionAccepted, SubmissionRefused
from chikaya_contracts.submission import Submission

SDK = Path(__file__).parents[2]
PYTHON = SDK / "python" / "examples"
OTHERS = SDK / "examples"
NO_NETWORK = re.compile(
    r"could not transfer|unknown host|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|no such host|dial tcp|in offline mode", re.I
)


@asynccontextmanager
async def running(*command: str, cwd: Path, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process whose output is read by line, and that is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env={**os.environ, **env}, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    written = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
    return written.removeprefix("\x1b[0m")  # Maven resets the terminal before its first word


@pytest.mark.parametrize("name", ["channel_http.py", "channel_kafka.py", "administration.py"])
def test_a_python_example_is_short(name):
    code = PYTHON.joinpath(name).read_text().split('"""')[2].strip().splitlines()
    assert len(code) < 30


INTAKE = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Intake(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print(json.dumps([self.path, self.headers["X-API-Key"], json.loads(body)]), flush=True)
        status, answer = json.loads(sys.argv[1])
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

server = HTTPServer(("127.0.0.1", 0), Intake)
print(server.server_port, flush=True)
server.serve_forever()
"""
ERROR = {"field": "text", "code": "too_short", "message_fr": "Texte trop court.", "message_ar": "النص قصير جدا."}
RECEIPT = {
    "complaint_id": "0199",
    "reference": "20260000000123",
    "access_code": "ABCD-EFGH-JKMN",
    "received_at": "2026-03-02T09:00:00Z",
    "deadlines": {"relay": "2026-03-17T22:59:59Z", "answer": "2026-05-01T22:59:59Z"},
}


@pytest.mark.parametrize(
    ("status", "answer", "code", "said"),
    [
        (201, RECEIPT, 0, "reference 20260000000123, access code ABCD-EFGH-JKMN\nanswer due 2026-05-01\n"),
        (422, {"title": "Refused", "errors": [ERROR]}, 1, "text: Texte trop court.\n"),
    ],
)
async def test_a_channel_over_http(tmp_path, status, answer, code, said):
    async with running(sys.executable, "-c", INTAKE, json.dumps([status, answer]), cwd=tmp_path) as intake:
        url = f"http://127.0.0.1:{await line(intake)}"
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, str(PYTHON / "channel_http.py"), "L'eau est coupée."],
            env={**os.environ, "CHIKAYA_INTAKE_URL": url, "CHIKAYA_CHANNEL_KEY": "secret"},
            capture_output=True,
            text=True,
            check=False,
        )
        path, key, body = json.loads(await line(intake))
    assert (done.returncode, done.stdout + done.stderr) == (code, said)
    assert (path, key) == ("/v1/complaints", "secret")
    assert Submission.model_validate(body).text == "L'eau est coupée."


async def test_a_channel_over_kafka(place, chikaya, now):
    bootstrap, user, password = place.account("channel-app")
    env = {
        "CHIKAYA_CHANNEL": "app",
        "CHIKAYA_KAFKA_BOOTSTRAP": bootstrap,
        "CHIKAYA_KAFKA_USER": user,
        "CHIKAYA_KAFKA_PASSWORD": password,
    }
    accepted = SubmissionAccepted(
        sender_id="app-1",
        complaint_id="0199",
        reference="20260000000123",
        received_at=now,
        relay_due=now,
        answer_due=now,
    )
    refused = SubmissionRefused(sender_id="app-2", errors=(FieldError(**ERROR),))
    for count, (receipt, code, said) in enumerate(
        [
            (accepted, 0, "reference 20260000000123, answer due 2026-03-02"),
            (refused, 1, "text: Texte trop court."),
        ],
        start=1,
    ):
        command = (sys.executable, str(PYTHON / "channel_kafka.py"), receipt.sender_id, "L'eau est coupée.")
        async with running("sh", "-c", 'exec "$@" 2>&1', "sh", *command, cwd=PYTHON, **env) as channel:
            submitted = await chikaya.read("channel.app.submissions.v1", count)
            assert receipt.sender_id in [event.data.sender_id for event in submitted]
            topic = "channel.app.receipts.v1"
            await chikaya.write(Event(id=ids.new_id(), source="/intake", time=now, data=receipt, topic=topic))
            assert await line(channel) == said
            assert await channel.wait() == code


def built(runtime: tuple[str, ...], folder: Path, *command: str) -> Path:
    """Skips where the runtime, or the network to fetch what it needs, is missing; fails where the build fails."""
    for program in runtime:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on this machine")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        output = done.stdout + done.stderr
        if NO_NETWORK.search(output):
            pytest.skip(f"{runtime[0]} cannot fetch what the example needs: {output.strip().splitlines()[-1]}")
        pytest.fail(output)
    return folder


def python_example(_: Path) -> tuple[str, ...]:
    return sys.executable, str(PYTHON / "administration.py")


def java_example(_: Path) -> tuple[str, ...]:
    folder = built(("java", "mvn"), OTHERS / "java", "mvn", "-q", "-B", "-f", str(OTHERS / "java"), "compile")
    return "mvn", "-q", "-B", "-f", str(folder), "exec:java"


def javascript_example(_: Path) -> tuple[str, ...]:
    folder = built(("node", "npm"), OTHERS / "javascript", "npm", "ci", "--no-audit", "--no-fund")
    return "node", str(folder / "administration.js")


def go_example(scratch: Path) -> tuple[str, ...]:
    built(("go",), OTHERS / "go", "go", "build", "-o", str(scratch / "administration"), ".")
    return (str(scratch / "administration"),)


@pytest.mark.parametrize(
    ("slug", "example"),
    [
        ("poste", python_example),
        ("education", java_example),
        ("anrt", javascript_example),
        ("oncf", go_example),
    ],
)
async def test_an_administration(place, chikaya, dossier, tmp_path, slug, example):
    command = await asyncio.to_thread(example, tmp_path)
    bootstrap, user, password = place.account(slug)
    env = {
        "CHIKAYA_ADMINISTRATION": slug,
        "CHIKAYA_KAFKA_BOOTSTRAP": bootstrap,
        "CHIKAYA_KAFKA_USER": user,
        "CHIKAYA_KAFKA_PASSWORD": password,
        "CHIKAYA_SCHEMAS": str(SDK.parent / "contracts" / "schemas" / "consumer"),
    }
    inbox, sent = f"administration.{slug}.inbox.v1", [dossier(slug, reference=f"2026000000012{i}") for i in range(3)]
    head = {"ce_specversion": "1.0", "ce_id": "x", "ce_source": "/routing", "ce_time": "2026-03-02T09:00:00+00:00"}
    await chikaya.write_raw(inbox, b"unreadable", {**head, "ce_type": sent[0].type})
    await chikaya.write_raw(inbox, b'{"complaint_id": "c", "reference": "r"}', {**head, "ce_type": sent[0].type})
    await chikaya.write_raw(inbox, b"{}", {**head, "ce_type": "ma.chikaya.of-tomorrow.v9"})
    await chikaya.write(*sent[:2])

    async with running(*command, cwd=tmp_path, **env) as administration:
        said = {await line(administration), await line(administration)}
        assert said == {"answered 20260000000120", "answered 20260000000121"}
        await chikaya.handled(f"{slug}.inbox", 5)
        administration.send_signal(signal.SIGTERM)
        await asyncio.wait_for(administration.wait(), 20)
    await chikaya.write(sent[2])
    async with running(*command, cwd=tmp_path, **env) as administration:
        assert await line(administration) == "answered 20260000000122"

    decided = await chikaya.read(f"administration.{slug}.outbox.v1", 6)
    for cause in sent:
        complaint = {"complaint_id": cause.data.complaint_id, "administration": slug}
        text = f"Votre dossier {cause.data.reference} est réglé."
        expected = [Acknowledge(**complaint), Answer(**complaint, text=text)]
        mine = [event for event in decided if event.data.complaint_id == cause.data.complaint_id]
        assert [event.data for event in mine] == expected
        assert [event.id for event in mine] == [consequence_id(cause.id, event.type) for event in mine]
