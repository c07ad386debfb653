"""The local database: `secantusd-py`, a server that speaks MongoDB's protocol, in a Python environment of its own
(it is GPL-2: a separate process that is never imported). A user for each service, who reaches its own database only.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from chikaya_local.errors import CannotStart
from chikaya_local.processes import Command, last_lines, spawn, stop_all
from chikaya_local.report import Report

REQUIREMENTS = Path(__file__).parents[1] / "secantus.requirements.txt"
ADMIN = "admin"
ALREADY_EXISTS = 51003


def install(environment: Path, report: Report) -> Path:
    """The server's program in `environment`, installed there the first time from hash-locked requirements.

    Raises:
        CannotStart: the environment cannot be made, or its packages cannot be fetched.
    """
    program, python = environment / "bin" / "secantusd-py", environment / "bin" / "python"
    stamp, wanted = environment / "installed", hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text("utf-8") == wanted and program.exists():
        return program
    uv = shutil.which(os.environ.get("UV") or "uv")
    if uv:
        steps = [
            [uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(environment)],
            [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(REQUIREMENTS)],
        ]
    else:
        pip = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(REQUIREMENTS)]
        steps = [[sys.executable, "-m", "venv", "--clear", str(environment)], pip]
    environment.parent.mkdir(parents=True, exist_ok=True)
    with report.task("Installing the local database"):
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CannotStart(
                    f"The local database could not be installed in {environment}. The first start needs the network "
                    f"for the packages of {REQUIREMENTS.name}; CHIKAYA_LOCAL_CACHE names another folder. "
                    f"`{' '.join(step)}` said:\n{(done.stderr or done.stdout).strip()[-2000:]}"
                )
    stamp.write_text(wanted, "utf-8")
    return program


class Mongo:
    """A server on loopback that keeps what it has acknowledged, with `admin` and a user for each database.

    Args:
        passwords: of `admin` (root) and of each further user, who owns the database of the same name and no other.
    """

    def __init__(
        self, directory: Path, *, port: int = 27017, passwords: Mapping[str, str], cache: Path, logs: Path | None = None
    ) -> None:
        self.directory, self.port, self.passwords, self.cache = directory, port, passwords, cache
        self._logs = logs or directory / "logs"

    @property
    def identity(self) -> str:
        """Changes when the storage is made anew."""
        made = self.directory / "made"
        return made.read_text("utf-8") if made.exists() else ""

    def uri(self, user: str) -> str:
        """How `user` connects; a service's user is known to its own database, `admin` to `admin`."""
        password = quote(self.passwords[user], safe="")
        return f"mongodb://{user}:{password}@127.0.0.1:{self.port}/{user}?authSource={user}&directConnection=true"

    def prepare(self, report: Report) -> None:
        """Installs the server and, once, creates the users: without `--auth`, as the server asks.

        Raises:
            CannotStart: the installation failed, or the server did not start.
        """
        program = install(self.cache / "secantus", report)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        # An empty file keeps the server from reading a configuration of the person's own elsewhere.
        (self.directory / "secantusd.toml").write_text("", "utf-8")
        stamp = self.directory / "users"
        users = hashlib.sha256(repr(sorted(self.passwords.items())).encode()).hexdigest()
        if stamp.exists() and stamp.read_text("utf-8") == users:
            return
        process = spawn(self._command(program))
        try:
            self._wait(f"mongodb://127.0.0.1:{self.port}/?directConnection=true", 30, lambda: process.poll() is None)
            self._create_users()
        finally:
            stop_all([process], patience_s=10)
        made = self.directory / "made"
        if not made.exists():
            made.write_text(os.urandom(16).hex(), "utf-8")
        stamp.write_text(users, "utf-8")

    def command(self) -> Command:
        """The server's process; `prepare` comes first."""
        return self._command(self.cache / "secantus" / "bin" / "secantusd-py", "--auth")

    def wait_ready(self, timeout_s: float = 30, alive: Callable[[], bool] = lambda: True) -> None:
        """Returns when `admin` is let in.

        Raises:
            CannotStart: that did not come about in time, or `alive` says that the server has ended.
        """
        self._wait(self.uri(ADMIN), timeout_s, alive)

    @contextmanager
    def running(self, report: Report | None = None) -> Iterator["Mongo"]:
        """Runs the server alone, for tests. The calling thread must outlive it."""
        self.prepare(report or Report())
        process = spawn(self.command())
        try:
            self.wait_ready(alive=lambda: process.poll() is None)
            yield self
        finally:
            stop_all([process], patience_s=10)

    def _command(self, program: Path, *options: str) -> Command:
        argv = (
            str(program),
            *("--config", str(self.directory / "secantusd.toml")),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--storage-path", str(self.directory / "data")),
            "--sync-on-commit",
            # Nothing follows the change stream: a short log of changes is enough, and keeps the disk small.
            *("--oplog-max-entries", "10000"),
            *options,
        )
        return Command("mongo", argv, self._logs / "mongo.log", directory=self.directory)

    def _create_users(self) -> None:
        with MongoClient[dict[str, object]]("127.0.0.1", self.port, directConnection=True) as client:
            for user, password in self.passwords.items():
                role = {"role": "root", "db": "admin"} if user == ADMIN else {"role": "readWrite", "db": user}
                rights: dict[str, Any] = {"pwd": password, "roles": [role], "mechanisms": ["SCRAM-SHA-256"]}
                try:
                    client[user].command("createUser", user, **rights)
                except OperationFailure as error:
                    if error.code != ALREADY_EXISTS:
                        raise
                    client[user].command("updateUser", user, **rights)

    def _wait(self, uri: str, timeout_s: float, alive: Callable[[], bool]) -> None:
        deadline, last = time.monotonic() + timeout_s, ""
        with MongoClient[dict[str, object]](uri, serverSelectionTimeoutMS=300, connectTimeoutMS=300) as client:
            while alive() and time.monotonic() < deadline:
                try:
                    client.admin.command("listDatabases")
                    return
                except PyMongoError as error:
                    last = str(error)
                    time.sleep(0.05)
        log = self._logs / "mongo.log"
        raise CannotStart(
            f"The local database {'did not answer in time' if alive() else 'ended at once'} ({last[:300]}); "
            f"the last words in {log}:\n{last_lines(log)}"
        )
