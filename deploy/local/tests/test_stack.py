"""A stack gives each process its own, says what is in the way, restarts what dies, and is stopped from anywhere."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from chikaya_local import down, pidfile
from chikaya_local.errors import CannotStart
from chikaya_local.programs import HANDBOOK, PROGRAMS, Ports
from chikaya_local.report import Report
from chikaya_local.stack import Stack, free_ports

UP = """
import sys
from chikaya_local import programs, stack, up
inbox = tuple(program for program in programs.PROGRAMS if program.name == "inbox")
stack.Stack.__init__.__kwdefaults__["programs"] = inbox
up.demonstrate = lambda stack: None  # it needs every service
sys.exit(up.main(sys.argv[1:]))
"""


@pytest.fixture
def whole(tmp_path: Path, report: Report) -> Stack:
    """The table as it is, with Kafka's users as provisioning would leave them; nothing runs."""
    stack = Stack(tmp_path, report=report)
    users = {program.kafka: f"kafka-of-{program.kafka}" for program in PROGRAMS if program.kafka}
    (tmp_path / "kafka-credentials.json").write_text(json.dumps(users), "utf-8")
    return stack


def test_no_process_is_given_what_belongs_to_another(whole: Stack) -> None:
    mine = {
        program.name: [
            *([f"kafka-of-{program.kafka}"] if program.kafka else []),
            *([whole.secrets.mongo[program.mongo]] if program.mongo else []),
            *([whole.secrets.sessions[program.name]] if program.session else []),
            *([whole.secrets.channel_keys[program.channel]] if program.channel else []),
        ]
        for program in PROGRAMS
    }
    for name in mine:
        given = "\n".join(whole.env_for(name).values())
        for owner, secrets_of_owner in mine.items():
            for secret in secrets_of_owner:
                assert (secret in given) == (owner == name), f"{name} and a secret of {owner}"
        assert whole.secrets.mongo["admin"] not in given
        assert whole.secrets.kafka_admin not in given


def test_only_intake_makes_access_codes_and_only_it_and_tracking_check_them(whole: Stack) -> None:
    def holders(secret: str) -> set[str]:
        return {name for name in whole.names if secret in whole.env_for(name).values()}

    assert holders(whole.secrets.access_code_secret) == {"intake"}
    assert holders(whole.secrets.verifier_key) == {"intake", "tracking"}
    assert holders(whole.secrets.sms_token) == {"inbox", "notification"}


def test_processes_are_given_nothing_of_our_own_settings(whole: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    from chikaya_local.processes import inherited_environment

    monkeypatch.setenv("CHIKAYA_MONGO_URI", "mongodb://elsewhere")
    assert "CHIKAYA_MONGO_URI" not in inherited_environment()


def test_the_ports_of_the_design_are_the_default_and_move_together() -> None:
    assert (Ports().of("portal"), Ports().of("intake"), Ports().kafka, Ports().mongo) == (8000, 8001, 9092, 27017)
    moved = Ports(offset=1000)
    assert (moved.of("portal"), moved.kafka, moved.mongo) == (9000, 10092, 28017)


@pytest.mark.parametrize("ports", [Ports(), Ports(offset=1000), Ports(block=21_000)])
def test_no_port_is_given_twice(ports: Ports) -> None:
    given = [ports.of(name, instance) for name in HANDBOOK for instance in (1, 2, 3)]
    given += [ports.mongo, *range(ports.kafka, ports.kafka + 6)]
    assert len(set(given)) == len(given)


class Disk(NamedTuple):
    """What `shutil.disk_usage` tells."""

    total: int
    used: int
    free: int


def test_a_taken_port_is_named_with_the_setting_that_moves_it(small: Stack) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", small.ports.of("inbox")))
        other.listen()
        with pytest.raises(CannotStart) as refused:
            small.check()
    assert f"{small.ports.of('inbox')}, for inbox" in str(refused.value)
    assert "PORT_OFFSET" in str(refused.value)


def test_a_full_disk_is_named_with_the_setting_that_changes_it(small: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(100, 99, 1))
    with pytest.raises(CannotStart, match="CHIKAYA_LOCAL_DIR"):
        small.check()


def test_a_second_stack_in_the_same_directory_is_refused(small: Stack) -> None:
    other = psutil.Process(os.getppid())
    marks = {"": [other.pid, other.create_time()]}
    (small.directory / pidfile.NAME).write_text(json.dumps(marks), "utf-8")
    try:
        with pytest.raises(CannotStart, match="already runs"):
            small.check()
    finally:
        pidfile.release(small.directory)


def test_a_killed_process_comes_back_and_says_that_it_is_ready(small: Stack) -> None:
    small.check()
    small.start("inbox")
    small.wait_ready("inbox")
    old = small.kill("inbox")
    while small.pid("inbox") in (None, old):
        threading.Event().wait(0.05)
    small.wait_ready("inbox")
    small.restart("inbox")
    small.wait_ready("inbox")
    assert "inbox was ended by SIGKILL" in small.report.console.export_text()


def test_a_process_that_cannot_start_is_not_waited_for(small: Stack) -> None:
    small.secrets = small.secrets.model_copy(update={"sms_token": "short"})
    small.start("inbox")
    with pytest.raises(CannotStart, match="keeps ending"):
        small.wait_ready("inbox")


def test_what_a_lost_terminal_left_is_stopped(tmp_path: Path, report: Report) -> None:
    left = subprocess.Popen(["sleep", "60"])
    born = psutil.Process(left.pid).create_time()
    reused = {"": [left.pid, born - 1000], "routing": [left.pid, born]}
    (tmp_path / pidfile.NAME).write_text(json.dumps(reused), "utf-8")
    reaper = threading.Thread(target=left.wait)
    reaper.start()
    assert pidfile.stop(tmp_path, report)
    reaper.join(5)
    assert left.returncode is not None
    assert not pidfile.stop(tmp_path, report)


@pytest.fixture
def up(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    block = free_ports(21_000, 21_900).block
    assert block is not None
    command = [sys.executable, "-c", UP, "--dir", str(tmp_path / "main"), "--port-offset", str(block - 8000)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    yield process
    if process.poll() is None:
        process.terminate()
        process.wait(60)


def test_make_down_stops_what_make_up_has_started(up: "subprocess.Popen[str]", tmp_path: Path) -> None:
    assert up.stderr is not None
    seen = []
    for line in up.stderr:
        seen.append(line)
        if "Ctrl-C stops everything" in line:
            break
    said = "".join(seen)
    assert "Chikaya is up" in said, said
    assert "What was sent by e-mail and SMS" in said
    children = psutil.Process(up.pid).children(recursive=True)
    assert len(children) >= 3

    assert down.main(["--dir", str(tmp_path / "main")]) == 0
    assert "Data stays" in up.stderr.read()
    assert up.wait(10) == 0
    assert not [child for child in children if child.is_running()]
    assert not (tmp_path / "main" / pidfile.NAME).exists()
    up.stderr.close()
