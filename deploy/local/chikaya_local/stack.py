"""A whole system on this machine: Kafka, the database and every process of the table, in one directory of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from chikaya_local import pidfile, secrets
from chikaya_local.errors import CannotStart
from chikaya_local.kafka import ADMIN, Kafka
from chikaya_local.mongo import Mongo
from chikaya_local.processes import Command, dies_with_parent, inherited_environment, last_lines
from chikaya_local.programs import PROGRAMS, Ports, Program, oidc_clients
from chikaya_local.report import Report
from chikaya_local.supervisor import Supervisor

ROOT = Path(__file__).parents[3]
LOCAL = ROOT / ".local"
DISK_NEEDED = 2 << 30
DRAIN_S = 30.0
SERVERS_DRAIN_S = 20.0
DEATHS_AT_START = 3
"""A process that ends more often than this, each time soon after its start, is not waited for."""


@dataclass(frozen=True)
class Settings:
    """How a stack is run.

    Args:
        cache: what is fetched or trained once and shared by all stacks (about 300 MB).
        models: where trained routing models are kept, by the hash of what they were trained on.
        instances: how many of a process, where not one.
        more: further settings for a process, over those of the table: `{"routing": {"TRIAGE_UNDO_S": "1"}}`.
    """

    kafka_nodes: int = 1
    kafka_heap: str = "512m"
    cache: Path = field(default_factory=lambda: Path(os.environ.get("CHIKAYA_LOCAL_CACHE") or LOCAL / "cache"))
    models: Path = field(default_factory=lambda: Path(os.environ.get("CHIKAYA_LOCAL_CACHE") or LOCAL) / "models")
    instances: Mapping[str, int] = field(default_factory=dict)
    more: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    log_level: str = "INFO"


class Stack:
    """A system that can be started, hurt and stopped, in parts or whole.

    Processes have the names of the table; further instances are `routing:2`, `routing:3`, and can be started at any
    time; Kafka's nodes are `kafka`, or `kafka:1` to `kafka:3`; the database is `mongo`.
    """

    def __init__(
        self,
        directory: Path,
        ports: Ports | None = None,
        settings: Settings | None = None,
        *,
        programs: tuple[Program, ...] = PROGRAMS,
        report: Report | None = None,
    ) -> None:
        self.directory = directory.resolve()
        self.ports, self.settings = ports or Ports(), settings or Settings()
        self.programs, self.report = programs, report or Report()
        self.logs = self.directory / "logs"
        self.secrets = secrets.load(self.directory)
        self.stopping = threading.Event()
        self.model: Path | None = None
        self._by_name = {program.name: program for program in programs}
        self._supervisor: Supervisor | None = None
        self._making = threading.Lock()
        self.kafka = Kafka(
            self.directory / "kafka",
            port=self.ports.kafka,
            nodes=self.settings.kafka_nodes,
            admin_password=self.secrets.kafka_admin,
            broker_password=self.secrets.kafka_broker,
            cache=self.settings.cache,
            logs=self.logs,
            heap=self.settings.kafka_heap,
        )
        self.mongo = Mongo(
            self.directory / "mongo",
            port=self.ports.mongo,
            passwords=self.secrets.mongo,
            cache=self.settings.cache,
            logs=self.logs,
        )

    # -- what there is

    @property
    def names(self) -> list[str]:
        """Every process of the table, with its instances."""
        return [
            program.name if instance == 1 else f"{program.name}:{instance}"
            for program in self.programs
            for instance in range(1, self.settings.instances.get(program.name, 1) + 1)
        ]

    def program(self, name: str) -> tuple[Program, int]:
        """The row and the number of the instance that a process's name means.

        Raises:
            KeyError: no such process.
        """
        base, _, instance = name.partition(":")
        return self._by_name[base], int(instance or 1)

    def url(self, name: str) -> str:
        """Where a process listens."""
        program, instance = self.program(name)
        return self.ports.url(program.port, instance)

    def env_for(self, name: str) -> dict[str, str]:
        """The settings of a process: its own principal, database user and secrets, and no other's.

        Raises:
            KeyError: no such process, or topics (and so Kafka's users) are not provisioned.
        """
        program, instance = self.program(name)
        env = {
            "HOST": "127.0.0.1",
            "PORT": str(self.ports.of(program.port, instance)),
            "PUBLIC_URL": self.ports.url(program.port),
            "LOG_LEVEL": self.settings.log_level,
        }
        if program.kafka:
            env |= self.kafka_env(program.kafka)
        if program.mongo:
            env |= {"MONGO_URI": self.mongo.uri(program.mongo), "MONGO_DATABASE": program.mongo}
        if program.staff:
            env["OIDC_ISSUER"] = self.ports.url("identity")
        if program.staff and program.session:
            env |= {
                "OIDC_CLIENT_ID": program.name,
                "OIDC_CLIENT_SECRET": self.secrets.oidc_clients[program.name],
            }
        if program.session:
            env["SESSION_SECRET"] = self.secrets.sessions[program.name]
        if program.channel:
            env["CHANNEL_KEY"] = self.secrets.channel_keys[program.channel]
        env |= {secret.upper(): getattr(self.secrets, secret) for secret in program.secrets}
        env |= {setting: self.ports.url(port) for setting, port in program.calls.items()}
        env |= {**program.settings, **self._own_settings(program), **self.settings.more.get(program.name, {})}
        return {f"CHIKAYA_{setting}": value for setting, value in env.items()}

    def kafka_env(self, principal: str) -> dict[str, str]:
        """Settings (without prefix) of a Kafka client.

        Raises:
            KeyError: no such user is provisioned.
        """
        is_admin = principal == ADMIN
        return {
            "KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "KAFKA_SECURITY": "SASL_PLAINTEXT",
            "KAFKA_USER": principal,
            "KAFKA_PASSWORD": (
                self.secrets.kafka_admin if is_admin else secrets.kafka_password(self.directory, principal)
            ),
        }

    def _own_settings(self, program: Program) -> dict[str, str]:
        match program.name:
            case "inbox":
                return {"DATA_DIR": str(self.directory / "inbox"), "SMTP_PORT": str(self.ports.of("smtp"))}
            case "identity":
                return {"OIDC_CLIENTS": oidc_clients(self.ports, self.secrets.oidc_clients)}
            case "routing" if self.model is not None:
                return {"MODEL_PATH": str(self.model)}
            case "notification":
                return {
                    "SMTP_HOST": "127.0.0.1",
                    "SMTP_PORT": str(self.ports.of("smtp")),
                    "SMS_URL": f"{self.ports.url('inbox')}/sms",
                }
            case _:
                return {}

    # -- before

    def check(self) -> None:
        """Looks at what would stop a start: another stack in this directory, taken ports, a full disk.

        Raises:
            CannotStart: says what is in the way, and the setting that changes it.
        """
        pidfile.claim(self.directory, self.report)
        free = shutil.disk_usage(self.directory).free
        if free < DISK_NEEDED:
            raise CannotStart(
                f"{free / 1e9:.1f} GB are free where {self.directory} is; {DISK_NEEDED / 1e9:.0f} GB are needed. Make "
                "room, or name a folder elsewhere: CHIKAYA_LOCAL_DIR=/elsewhere make up"
            )
        wanted = {name: self.ports.of(*self._port(name)) for name in self.names}
        if "inbox" in wanted:
            wanted["smtp"] = self.ports.of("smtp")
        wanted |= {f"kafka ({number})": port for number, port in enumerate(self.kafka.ports, 1)}
        wanted["mongo"] = self.ports.mongo
        taken = [f"  {port}, for {name}{_holder(port)}" for name, port in wanted.items() if not _is_free(port)]
        if taken:
            raise CannotStart(
                "These ports are taken:\n" + "\n".join(taken) + "\nStop what holds them (a stack of this project's "
                "own: make down), or move all ports: make up PORT_OFFSET=1000"
            )

    def _port(self, name: str) -> tuple[str, int]:
        program, instance = self.program(name)
        return program.port, instance

    # -- start and stop

    @property
    def supervisor(self) -> Supervisor:
        """What keeps the processes; made when first asked for."""
        with self._making:  # the servers are started side by side
            if self._supervisor is None:
                self._supervisor = Supervisor(
                    say=lambda text: self.report.line(f"[yellow]![/] {text}"),
                    changed=lambda pids: pidfile.write(self.directory, pids),
                )
            return self._supervisor

    def start_kafka(self) -> None:
        """Starts Kafka and returns when it answers.

        Raises:
            CannotStart: see `Kafka.prepare` and `Kafka.wait_ready`.
        """
        self.kafka.prepare(self.report)
        for command in self.kafka.commands():
            self.supervisor.start(command)
        self.kafka.wait_ready(alive=lambda: self._all_run(self.kafka.names))

    def start_mongo(self) -> None:
        """Starts the database and returns when it answers.

        Raises:
            CannotStart: see `Mongo.prepare` and `Mongo.wait_ready`.
        """
        self.mongo.prepare(self.report)
        self.supervisor.start(self.mongo.command())
        self.mongo.wait_ready(alive=lambda: self._all_run(["mongo"]))

    def start(self, *names: str) -> None:
        """Starts processes, at once; they wait for what they need. A process that runs is left as it is.

        Raises:
            KeyError: no such process, or topics are not provisioned.
        """
        for name in names:
            self.supervisor.start(self.command_for(name))

    def command_for(self, name: str) -> Command:
        """How a process is started: one of the table, of Kafka's nodes, or the database."""
        if name == "mongo":
            return self.mongo.command()
        if name in self.kafka.names:
            return self.kafka.commands()[self.kafka.names.index(name)]
        program, _ = self.program(name)
        return Command(
            name,
            (sys.executable, "-m", program.module),
            self.logs / f"{name}.log",
            env={"PYTHONUNBUFFERED": "1", **self.env_for(name)},
            directory=self.directory,
        )

    def stop(self, *names: str, patience_s: float = DRAIN_S) -> None:
        """Lets processes finish their work and end; ends by force, and says so, what has not after `patience_s`."""
        for forced in self.supervisor.stop(names, patience_s):
            self.report.line(f"[yellow]![/] {forced} did not end in {patience_s:.0f} s and was killed")

    def restart(self, name: str) -> None:
        """Stops a process and starts it again; `wait_ready` tells when it can work."""
        self.stop(name)
        self.start(name)

    def kill(self, name: str, *, stay_down: bool = False) -> int:
        """`kill -9`; supervision starts the process again unless it is to `stay_down`. Returns the process id.

        Raises:
            ProcessLookupError: it does not run.
        """
        return self.supervisor.kill(name, stay_down=stay_down)

    def pause(self, name: str) -> None:
        """Holds a process where it is (SIGSTOP), as a machine does that has stalled.

        Raises:
            ProcessLookupError: it does not run.
        """
        self.supervisor.pause(name)

    def resume(self, name: str) -> None:
        """Lets a paused process go on.

        Raises:
            ProcessLookupError: it does not run.
        """
        self.supervisor.resume(name)

    def pid(self, name: str) -> int | None:
        """The process id of `name` while it runs."""
        return self.supervisor.pid(name)

    def stop_all(self) -> None:
        """Stops the processes, then the servers that they drain into. Data stays."""
        self.stopping.set()
        if self._supervisor is None:
            return
        servers = {*self.kafka.names, "mongo"}
        self.stop(*(name for name in self.supervisor.names() if name not in servers))
        self.stop(*servers, patience_s=SERVERS_DRAIN_S)
        self.supervisor.close()
        self._supervisor = None
        pidfile.release(self.directory)

    def kill_all(self) -> None:
        """Ends everything by force, for the person who will not wait."""
        self.stopping.set()
        if self._supervisor is not None:
            self._supervisor.stop(self._supervisor.names(), patience_s=0)

    @contextmanager
    def servers(self) -> Iterator["Stack"]:
        """Kafka and the database alone, for tests of one service; topics are not provisioned."""
        self.check()
        try:
            self.start_kafka()
            self.start_mongo()
            yield self
        finally:
            self.stop_all()

    # -- readiness

    def wait_ready(self, *names: str, timeout_s: float = 90) -> None:
        """Returns when each process (all, if none is named) says that it can work.

        Raises:
            CannotStart: one does not within `timeout_s`, or keeps ending; says what it waits for, and the end of its
                log.
        """
        waiting = dict.fromkeys(names or self.names, "not asked yet")
        deadline = time.monotonic() + timeout_s
        with self.report.task("Waiting for all processes") as task, httpx.Client(timeout=3) as client:
            while waiting and time.monotonic() < deadline and not self.stopping.is_set():
                for name in list(waiting):
                    if self.supervisor.deaths(name) > DEATHS_AT_START:
                        raise CannotStart(self._why_not(name, "it keeps ending as soon as it is started"))
                    answer = _ask(client, f"{self.url(name)}/readyz")
                    if answer is None:
                        del waiting[name]
                    else:
                        waiting[name] = answer
                task.describe("Waiting for " + ", ".join(waiting))
                if waiting:
                    time.sleep(0.1)
            if waiting and not self.stopping.is_set():
                raise CannotStart("\n".join(self._why_not(name, answer) for name, answer in waiting.items()))

    def _why_not(self, name: str, answer: str) -> str:
        log = self.logs / f"{name}.log"
        return f"{name} is not ready: {answer}\nThe end of {log}:\n{last_lines(log)}\n"

    def _all_run(self, names: Sequence[str]) -> bool:
        return not self.stopping.is_set() and all(self.supervisor.running(name) for name in names)

    # -- commands

    def run(self, module: str, *arguments: str, env: Mapping[str, str]) -> str:
        """Runs `python -m module …` to its end with these settings (full names) and returns what it printed.

        Raises:
            CannotStart: it failed; with what it said. Or we are stopping.
        """
        process = subprocess.Popen(
            [*dies_with_parent(), sys.executable, "-m", module, *arguments],
            env={**inherited_environment(), "TERM": "dumb", "COLUMNS": "120", **env},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while True:
            try:
                out, err = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if self.stopping.is_set():
                    process.kill()
                    process.communicate()
                    raise CannotStart("stopped") from None
        if process.returncode:
            said = "\n".join((err or out).strip().splitlines()[-20:])
            raise CannotStart(f"`{module} {' '.join(arguments)}` failed ({process.returncode}):\n{said}")
        return out

    def admin_env(self) -> dict[str, str]:
        """Full settings of a command that administers Kafka."""
        return {f"CHIKAYA_{setting}": value for setting, value in self.kafka_env(ADMIN).items()}


def free_ports(first: int = 21_000, last: int = 32_000, *, instances: int = 1) -> Ports:
    """A block of ports that nothing listens on, for a stack of tests; those of the design are left alone.

    Args:
        instances: how many of a process the stack may come to have; each further one takes 100 ports more.

    Raises:
        CannotStart: every block is taken in part.
    """
    size = 100 * instances
    start = first + os.getpid() % 50 * 100  # test runs that begin together look in different places
    end = last - size + 1
    for block in [*range(start, end, 100), *range(first, min(start, end), 100)]:
        if all(_is_free(port) for port in range(block, block + size)):
            return Ports(block=block)
    raise CannotStart(f"no {size} neighbouring ports are free between {first} and {last}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f" (held by process {connection.pid}: {psutil.Process(connection.pid).name()})"
    except (psutil.Error, OSError):
        return ""  # only root may see others' processes
    return ""


def _ask(client: httpx.Client, url: str) -> str | None:
    """None when it is ready, else what it says."""
    try:
        answer = client.get(url)
    except httpx.HTTPError as error:
        return f"{type(error).__name__} at {url}"
    if answer.status_code == httpx.codes.OK:
        return None
    try:
        return json.dumps(answer.json().get("waiting_for"), ensure_ascii=False)
    except (ValueError, AttributeError):
        return f"status {answer.status_code} at {url}"
