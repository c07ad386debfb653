"""Each Dockerfile, carried out with no container: its COPYs from a clean export of HEAD, its RUNs really run, and then
what the image starts, from that environment alone and in another folder.

What stands for the engine: a folder for the file system's root (paths of the image are mapped to it), this machine's
Python for the base image's, `uv` of this machine for the one that the image installs. An instruction or a command that
is not understood fails the test: it is to be taught here first.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted(
    str(file.relative_to(ROOT))
    for pattern in ("services/*", "channels/*", "administrations/*", "deploy/local")
    for file in ROOT.glob(f"{pattern}/Dockerfile")
)
BASE = "python:3.12-slim"
ONLY_SPEED = {"UV_LINK_MODE", "UV_COMPILE_BYTECODE", "PYTHONDONTWRITEBYTECODE"}
"""What an image sets for its size or its starts, and a run that is thrown away does without."""
OF_THE_NETWORK = re.compile(
    r"(?i)(HOME$|UV_(?!PROJECT|LINK|COMPILE)|PIP_|SSL_|REQUESTS_|HTTPS?_PROXY|NO_PROXY|ALL_PROXY)"
)
"""How this machine reaches and keeps packages: the engine's own affair."""
STARTS_WITHIN_S, ENDS_WITHIN_S = 120, 30


class NotUnderstood(Exception):
    """The engine may know what this means; this test does not."""


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Its instructions, each on one line."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        yield word, rest.strip()


def ignored(patterns: Sequence[str], path: str) -> bool:
    """Whether .dockerignore keeps a path out of the context, by itself or by a folder that holds it.

    Raises:
        NotUnderstood: exceptions (`!`) and character classes.
    """
    for pattern in patterns:
        if re.search(r"[!\[\]\\?]", pattern):
            raise NotUnderstood(f".dockerignore: {pattern}")
        parts = re.split(r"(\*\*/|\*)", pattern.strip("/"))
        kinds = {"**/": "(?:.*/)?", "*": "[^/]*"}
        if re.fullmatch("".join(kinds.get(part, re.escape(part)) for part in parts) + "(?:/.*)?", path):
            return True
    return False


class Image:
    """What an engine would make of a Dockerfile, in a folder.

    Every stage is made at the same place and then moved aside, so that what one stage installed finds itself at the
    same path in the next, as in an image.
    """

    def __init__(self, dockerfile: Path, context: Path, folder: Path, uv: str) -> None:
        self.context, self.folder, self.uv = context, folder, uv
        self.root = folder / "root"
        self.stages: dict[str, Path] = {}
        self.command: list[str] = []
        self.health: list[str] = []
        self.owned: dict[str, str] = {}
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        (bin_folder / "python").symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
        self.path = f"{bin_folder}:/usr/local/bin:/usr/bin:/bin"
        self._name = ""
        for word, rest in instructions(dockerfile.read_text("utf-8")):
            step = getattr(self, f"_{word.lower()}", None)
            if step is None:
                raise NotUnderstood(f"{word} {rest}")
            step(rest)

    # -- where things are

    def here(self, path: str) -> Path:
        """A path of the image, on this machine."""
        return self.root / os.path.normpath(os.path.join(self.directory, path)).lstrip("/")

    def mapped(self, text: str) -> str:
        """Text with the image's paths where they are on this machine."""
        tops = "|".join(sorted(re.escape(entry.name) for entry in self.root.iterdir()))
        return re.sub(rf"(?<![\w./$-])/(?=(?:{tops})\b)", f"{self.root}/", text) if tops else text

    def environment(self) -> dict[str, str]:
        """What the image's processes are given."""
        given = {name: self.mapped(value) for name, value in self.env.items() if name not in ONLY_SPEED}
        return {"PATH": self.path, "HOME": str(self.folder), **given}

    def packages(self) -> set[str]:
        """The project's packages that are installed."""
        found = self.root.glob("*/.venv/lib/python3*/site-packages/chikaya_*")
        return {entry.name for entry in found if entry.suffix != ".dist-info"}

    # -- instructions

    def _from(self, rest: str) -> None:
        found = re.fullmatch(r"(\S+)(?: AS (\w+))?", rest)
        if not found or found[1] != BASE:
            raise NotUnderstood(f"FROM {rest}")
        if self._name:
            self.root = self.root.rename(self.folder / f"stage-{self._name}")
            self.stages[self._name] = self.root
        self.root = self.folder / "root"
        self.root.mkdir()
        self._name = found[2] or "last"
        self.env: dict[str, str] = {"PATH": self.path}
        self.directory, self.user, self.exposed = "/", "root", ""
        self.users: set[str] = set()

    def _workdir(self, rest: str) -> None:
        self.directory = os.path.join(self.directory, rest)
        self.here(".").mkdir(parents=True, exist_ok=True)

    def _copy(self, rest: str) -> None:
        *sources, target = shlex.split(rest)
        stage, place = None, self.here(target)
        if sources[0].startswith("--from="):
            stage = self.stages[sources.pop(0).removeprefix("--from=")]
        if not sources or any(source.startswith("--") or re.search(r"[*?\[]", source) for source in sources):
            raise NotUnderstood(f"COPY {rest}")
        for source in sources:
            found = (stage or self.context) / source.lstrip("/")
            if found.is_dir():
                copy = os.link if stage else shutil.copy2
                shutil.copytree(found, place, symlinks=True, dirs_exist_ok=True, copy_function=copy)
            else:
                into = place / found.name if target.endswith("/") or place.is_dir() else place
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, into)

    def _env(self, rest: str) -> None:
        for word in shlex.split(rest):
            name, equals, value = word.partition("=")
            if not equals:
                raise NotUnderstood(f"ENV {rest}")
            self.env[name] = re.sub(r"\$\{?(\w+)\}?", lambda found: self.env[found[1]], value)

    def _run(self, rest: str) -> None:
        for command in rest.split(" && "):
            match shlex.split(command):
                case ["pip", "install", *words]:
                    versions = [word for word in words if not word.startswith("-")]
                    assert versions == [f"uv=={makefile_uv()}"], f"{command}: the Makefile has {makefile_uv()}"
                case ["useradd", "--uid", uid, *_]:
                    self.users.add(uid)
                case ["install", "-d", "-o", owner, "-g", group, "-m", mode, folder]:
                    self.here(folder).mkdir(parents=True)
                    self.here(folder).chmod(int(mode, 8))
                    self.owned[folder] = f"{owner}:{group}"
                case [_, "-m", "chikaya_routing.train", *options, "--out", target] as words:
                    self._train([*words[:3], *options], target)
                case ["uv", "sync", *options]:
                    self._really([self.uv, "sync", *options])
                case _:
                    raise NotUnderstood(f"RUN {command}")

    def _train(self, train: Sequence[str], target: str) -> None:
        """Trains, unless a model of the very same inputs is kept here, as `make up` does."""
        inputs = self._really([*train, "--print-hash"]).strip()
        kept = ROOT / ".local" / "models" / f"{inputs}.npz"
        if kept.exists():
            shutil.copy2(kept, self.here(target))
        else:
            self._really([*train, "--out", target])
        assert self.here(target).stat().st_size > 0

    def _really(self, argv: Sequence[str]) -> str:
        machine = {name: value for name, value in os.environ.items() if OF_THE_NETWORK.match(name)}
        python = {"UV_PYTHON": os.readlink(self.folder / "bin" / "python"), "UV_PYTHON_DOWNLOADS": "never"}
        env = {**self.environment(), **machine, **python}
        done = subprocess.run(
            [self.mapped(word) for word in argv],
            cwd=self.here("."),
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _user(self, rest: str) -> None:
        assert rest in self.users, f"USER {rest}: none was made"
        self.user = rest

    def _expose(self, rest: str) -> None:
        self.exposed = rest

    def _healthcheck(self, rest: str) -> None:
        found = re.fullmatch(r"(?:--[a-z-]+=\d+s\s+)*CMD (\[.*\])", rest)
        if not found:
            raise NotUnderstood(f"HEALTHCHECK {rest}")
        self.health = json.loads(found[1])

    def _cmd(self, rest: str) -> None:
        self.command = json.loads(rest)


def makefile_uv() -> str:
    """The version of uv that the project is built with."""
    found = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="session")
def uv() -> str:
    found = shutil.which(os.environ.get("UV") or "uv") or shutil.which(ROOT / ".local" / "uv" / "bin" / "uv")
    assert found, "uv is needed: `make test` brings it"
    return found


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a builder is sent from a fresh clone: HEAD, without what .dockerignore names."""
    folder = tmp_path_factory.mktemp("context")
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    patterns = [line for line in (folder / ".dockerignore").read_text("utf-8").splitlines() if line.strip()]
    for file in [file for file in folder.rglob("*") if not file.is_dir()]:
        if ignored(patterns, str(file.relative_to(folder))):
            file.unlink()
    return folder


def test_what_no_image_needs_stays_out_of_the_context(context: Path) -> None:
    sent = {str(file.relative_to(context)) for file in context.rglob("*") if file.is_file()}
    assert "uv.lock" in sent
    assert not [name for name in sent if re.search(r"(^|/)(tests|docs|\.env|\.venv|\.local)(/|$)", name)]
    assert ignored(["**/.env*"], "a/.env.new")
    assert ignored([".local"], ".local/models/x.npz")
    assert not ignored(["docs"], "services/docs")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_an_image_is_built_and_starts_what_compose_starts(
    dockerfile: str, context: Path, compose: Any, uv: str, tmp_path: Path
) -> None:
    assert (context / dockerfile).exists(), "it is not committed yet"
    image = Image(context / dockerfile, context, tmp_path, uv)
    assert image.user == "10001"
    assert image.exposed == image.env["CHIKAYA_PORT"]
    assert image.env["CHIKAYA_HOST"] == "0.0.0.0"
    own = {f"chikaya_{Path(dockerfile).parent.name}"}
    assert own <= image.packages() <= own | {"chikaya_contracts", "chikaya_servicekit", "chikaya_sdk"}

    users = {name: service for name, service in compose.built.items() if service["build"]["dockerfile"] == dockerfile}
    assert users, "no service of docker-compose.yml uses it"
    for name, service in users.items():
        for volume in service.get("volumes", []):
            source, _, target = volume.partition(":")
            if not source.startswith("."):
                assert image.owned[target] == service["user"], f"a new volume {source} would be root's"
        if name in compose.lasting:
            with started(image, compose, name, tmp_path / f"run-{name}") as (port, env):
                done = subprocess.run(argv(image, image.health), env=env, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{name}'s healthcheck on port {port}: {done.stderr}"
        else:
            understood(image, name, " ".join(service.get("command") or service["entrypoint"]))


def argv(image: Image, command: Sequence[str]) -> list[str]:
    """A command with its program as the image's PATH finds it."""
    program = shutil.which(command[0], path=image.environment()["PATH"])
    assert program, f"{command[0]} is not on the image's PATH"
    return [program, *map(image.mapped, command[1:])]


@contextmanager
def started(image: Image, compose: Any, name: str, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A service with compose's settings, on a port of its own, with no server but itself; stopped as compose does."""
    folder.mkdir()
    port, nowhere = free_port(), free_port()
    given = compose.environment(name)
    for setting in [setting for setting in given if re.search(r"_(URI|URL|BOOTSTRAP)$", setting)]:
        given[setting] = re.sub(r"(?<=[@/])[a-z.]+:\d+|^kafka:\d+", f"127.0.0.1:{nowhere}", given[setting])
    env = {
        **image.environment(),
        **{setting: value.replace("/tmp/", f"{folder}/") for setting, value in given.items()},
        **{"CHIKAYA_HOST": "127.0.0.1", "CHIKAYA_PORT": port, "CHIKAYA_SMTP_PORT": free_port()},
    }
    log = folder / "log"
    with log.open("wb") as out:
        command = compose.services[name].get("command") or image.command
        process = subprocess.Popen(argv(image, command), cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not answers(port):
            assert process.poll() is None, f"{name} ended:\n{log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"{name} does not answer:\n{log.read_text()[-3000:]}"
            time.sleep(0.1)
        yield port, env
        process.send_signal(signal.SIGTERM)
        process.wait(ENDS_WITHIN_S)
    finally:
        process.kill()
        process.wait()


def answers(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def understood(image: Image, name: str, command: str) -> None:
    """The `chikaya` commands of a service that does one thing are there, with their options."""
    commands = re.findall(r"\bchikaya ((?:[a-z]+ ?)*)", command) or ["topics provision"]
    for words in {tuple(found.split()[:2]) for found in commands}:
        done = subprocess.run(
            [*argv(image, ["chikaya"]), *words, "--help"],
            cwd=image.folder,
            env=image.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{name}: chikaya {' '.join(words)}: {done.stdout}{done.stderr}"
        assert "cannot be loaded" not in done.stderr, done.stderr
