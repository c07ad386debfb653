"""Processes are kept running, can be hurt and held down, finish their work, and never outlive their keeper."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from chikaya_local.processes import Command
from chikaya_local.supervisor import Supervisor

SLEEP = ("sleep", "60")


def eventually(true: Callable[[], bool], within_s: float = 5) -> bool:
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(said.append)
    yield supervisor
    supervisor.stop(supervisor.names(), patience_s=1)
    supervisor.close()


def test_a_killed_process_is_started_again_and_it_is_said(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    supervisor.start(Command("sleeper", SLEEP, tmp_path / "log"))
    old = supervisor.kill("sleeper")
    assert eventually(lambda: supervisor.pid("sleeper") not in (None, old))
    assert said == [f"sleeper was ended by SIGKILL; started again in 0.2 s (its log: {tmp_path / 'log'})"]


def test_a_process_can_be_held_down_and_started_again(supervisor: Supervisor, said: list[str], tmp_path: Path) -> None:
    command = Command("sleeper", SLEEP, tmp_path / "log")
    supervisor.start(command)
    supervisor.kill("sleeper", stay_down=True)
    assert eventually(lambda: not supervisor.running("sleeper"))
    assert not eventually(lambda: supervisor.running("sleeper"), within_s=0.5)
    supervisor.start(command)
    assert supervisor.running("sleeper")
    assert said == []


def test_a_process_can_be_held_where_it_is_and_let_go_on(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(Command("sleeper", SLEEP, tmp_path / "log"))
    held = psutil.Process(supervisor.pid("sleeper"))
    supervisor.pause("sleeper")
    assert eventually(lambda: held.status() == psutil.STATUS_STOPPED)
    supervisor.resume("sleeper")
    assert eventually(lambda: held.status() != psutil.STATUS_STOPPED)
    assert supervisor.pid("sleeper") == held.pid
    with pytest.raises(ProcessLookupError):
        supervisor.pause("nobody")


def test_one_that_keeps_ending_is_started_less_and_less_often(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    supervisor.start(Command("broken", (sys.executable, "-c", "print('why'); raise SystemExit(3)"), tmp_path / "log"))
    assert eventually(lambda: supervisor.deaths("broken") >= 3)
    assert [line.split("again in ")[1].split(" s")[0] for line in said[:3]] == ["0.2", "0.5", "1"]
    assert "ended with code 3" in said[0]
    assert "why" in (tmp_path / "log").read_text("utf-8")


def test_work_under_way_is_finished_and_the_stubborn_are_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    done = tmp_path / "done"
    drains = f"trap 'sleep 0.3; touch {done}; exit 0' TERM; while :; do sleep 0.05; done"
    ignores = "trap '' TERM; while :; do sleep 0.05; done"
    supervisor.start(Command("drains", ("bash", "-c", drains), tmp_path / "log"))
    supervisor.start(Command("ignores", ("bash", "-c", ignores), tmp_path / "log2"))
    time.sleep(0.3)  # bash sets its traps
    assert supervisor.stop(["drains", "ignores"], patience_s=1.5) == ["ignores"]
    assert done.exists()
    assert not supervisor.running("drains")


def test_a_program_that_is_not_there_is_said_to_the_one_who_starts_it(supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(ProcessLookupError):
        supervisor.kill("nobody")
    supervisor.start(Command("absent", ("/no/such/program",), tmp_path / "log"))
    assert eventually(lambda: supervisor.deaths("absent") >= 1 or "no/such" in (tmp_path / "log").read_text("utf-8"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")
def test_processes_end_when_their_keeper_is_killed(tmp_path: Path) -> None:
    keeper = (
        "import sys, time; from pathlib import Path; from chikaya_local.supervisor import Supervisor\n"
        "from chikaya_local.processes import Command\n"
        "s = Supervisor(print); s.start(Command('sleeper', ('sleep', '60'), Path(sys.argv[1])))\n"
        "print(s.pid('sleeper'), flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", keeper, str(tmp_path / "log")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    sleeper = psutil.Process(int(process.stdout.readline()))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert eventually(lambda: not sleeper.is_running() or sleeper.status() == psutil.STATUS_ZOMBIE)
