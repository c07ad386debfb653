"""A system of its own for a part of the benchmark: servers in an empty directory, and what is measured of it."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Message, encode
from pymongo import MongoClient

from chikaya_local.bootstrap import add_channels, ensure_model, import_catalogue, provision_topics
from chikaya_local.kafka import ADMIN
from chikaya_local.processes import Command, inherited_environment
from chikaya_local.secrets import MONGO_USERS
from chikaya_local.stack import LOCAL, Settings, Stack, free_ports

HOME = LOCAL / "bench"
PORTS = (32_400, 32_799)
FLOOR_TOPIC = "bench.floor.v1"
NO_LIMIT = "1000000000"
STILL_S = 1.0
"""Nothing has moved for so long: it is over."""
WITHIN_S = 600.0
SERVICES = ("intake", "routing", "tracking", "notification")


class TookTooLong(Exception):
    """Something measured did not come to its end; says what was still to be done."""


@dataclass(frozen=True)
class Options:
    """What the person who runs the benchmark has chosen.

    Args:
        scale: multiplies the number of complaints of each measurement.
        growth: cases that are loaded before the growing system is measured again.
        mongo_uri: another database server than the local one; its user must be allowed to make databases.
    """

    scale: float = 1.0
    growth: int = 100_000
    mongo_uri: str = field(default_factory=lambda: os.environ.get("MONGO_URI", ""))

    def count(self, usual: int) -> int:
        """So many complaints where `usual` are usual."""
        return max(20, round(usual * self.scale))


class System:
    """A stack, and what is done to it and seen of it from outside. `System.running` makes one."""

    def __init__(self, stack: Stack, options: Options) -> None:
        self.stack, self.options = stack, options

    @staticmethod
    @contextmanager
    def running(name: str, options: Options, more: Mapping[str, Mapping[str, str]] | None = None) -> Iterator["System"]:
        """Servers with topics, channels, catalogue and model, in an empty directory that is removed at the end; no
        process of the table runs yet.

        Args:
            more: further settings of processes, as in `stack.Settings`.

        Raises:
            CannotStart: something is in the way.
        """
        directory = HOME / f"{name}-{os.getpid()}"
        settings: dict[str, dict[str, str]] = {
            "intake": {"REQUESTS_PER_MINUTE": NO_LIMIT},
            "routing": {"CLASSIFY_PER_MINUTE": NO_LIMIT},
        }
        for process, own in (more or {}).items():
            settings.setdefault(process, {}).update(own)
        if options.mongo_uri:
            for process in (*SERVICES, "desk"):
                database = f"chikaya_bench_{process}"
                own = {"MONGO_URI": options.mongo_uri, "MONGO_DATABASE": database}
                settings[process] = {**own, **settings.get(process, {})}
        stack = Stack(directory, free_ports(*PORTS), Settings(more=settings, log_level="WARNING"))
        system = System(stack, options)
        try:
            stack.check()
            stack.start_kafka()
            if options.mongo_uri:
                system.empty_databases()
            else:
                stack.start_mongo()
            provision_topics(stack)
            ensure_model(stack)
            add_channels(stack)
            import_catalogue(stack)
            asyncio.run(system._make_floor_topic())
            yield system
        finally:
            stack.stop_all()
            if options.mongo_uri:
                system.empty_databases()
            shutil.rmtree(directory, ignore_errors=True)

    # -- the database

    @property
    def mongo_uri(self) -> str:
        """As the database's administrator."""
        return self.options.mongo_uri or self.stack.mongo.uri(ADMIN)

    def database(self, process: str) -> str:
        """The name of a process's database."""
        return f"chikaya_bench_{process}" if self.options.mongo_uri else process

    def empty_databases(self) -> None:
        """Removes what a benchmark has left on a server that is not ours."""
        with MongoClient[dict[str, Any]](self.mongo_uri, serverSelectionTimeoutMS=5_000) as client:
            for process in MONGO_USERS:
                client.drop_database(f"chikaya_bench_{process}")

    def database_name(self) -> str:
        """What the server says it is."""
        with MongoClient[dict[str, Any]](self.mongo_uri, serverSelectionTimeoutMS=5_000) as client:
            version = client.admin.command("buildInfo").get("version", "?")
        kind = "of MONGO_URI, says it is MongoDB" if self.options.mongo_uri else "secantusd-py, says it is MongoDB"
        return f"{kind} {version}"

    # -- Kafka

    def kafka(self) -> dict[str, Any]:
        """Keyword arguments of an aiokafka client that may do everything."""
        env = self.stack.kafka_env(ADMIN)
        return {
            "bootstrap_servers": env["KAFKA_BOOTSTRAP"],
            "security_protocol": env["KAFKA_SECURITY"],
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": env["KAFKA_USER"],
            "sasl_plain_password": env["KAFKA_PASSWORD"],
        }

    async def _make_floor_topic(self) -> None:
        async with self._admin() as admin:
            await admin.create_topics([NewTopic(FLOOR_TOPIC, 6, 1)])

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(**self.kafka())
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def fill(self, events: Iterable[Event[Message]], partition: int | None = None) -> int:
        """Writes events to their topics, in order for each key, or all to one partition; gives their number."""
        producer = AIOKafkaProducer(
            **self.kafka(), acks="all", enable_idempotence=True, linger_ms=5, max_batch_size=256 * 1024
        )
        count, sent = 0, []
        async with producer:
            for event in events:
                topic, key, value, headers = encode(event)
                sent.append(await producer.send(topic, value, key=key, headers=headers, partition=partition))
                count += 1
                if len(sent) == 2_000:
                    await asyncio.gather(*sent)
                    sent.clear()
            await asyncio.gather(*sent)
        return count

    # -- processes

    def start(self, name: str) -> None:
        """Starts a process, and returns when it is ready."""
        self.stack.start(name)
        self.stack.wait_ready(name)

    def start_through(self, name: str, module: str, *arguments: str) -> None:
        """Starts a process through another module, which runs it as its program."""
        command = self.stack.command_for(name)
        self.stack.supervisor.start(replace(command, argv=(sys.executable, "-m", module, *arguments)))

    @contextmanager
    def beside(self, name: str, module: str, *arguments: str, **env: str) -> Iterator[None]:
        """Runs a module as a process for as long as the block."""
        command = Command(
            name,
            (sys.executable, "-m", module, *arguments),
            self.stack.logs / f"{name}.log",
            env={**self.stack.admin_env(), **env},
            directory=self.stack.directory,
        )
        self.stack.supervisor.start(command)
        try:
            yield
        finally:
            self.stack.stop(name)

    def run(self, module: str, *arguments: str, given: str = "") -> dict[str, Any]:
        """Runs a module to its end; gives what its last line says.

        Raises:
            subprocess.CalledProcessError: it failed; what it said is on standard error.
        """
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env={**inherited_environment(), **self.stack.admin_env()},
            input=given,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    @contextmanager
    def sink(self) -> Iterator[None]:
        """A mail server and an SMS gateway that take everything, where notification looks for them."""
        ports = [str(self.stack.ports.of(name)) for name in ("smtp", "inbox")]
        with self.beside("sink", "chikaya_local.bench.sink", *ports):
            yield

    def cpu_s(self, *names: str) -> dict[str, float]:
        """Seconds of processor time that processes have used since their start."""
        found = {}
        for name in names:
            if pid := self.stack.pid(name):
                times = psutil.Process(pid).cpu_times()
                found[name] = times.user + times.system
        return found

    def memory_mb(self, *names: str) -> dict[str, float]:
        """Megabytes (10⁶ bytes) that are in memory for each process and no other (USS)."""
        pids = {name: self.stack.pid(name) for name in names}
        return {name: psutil.Process(pid).memory_full_info().uss / 1e6 for name, pid in pids.items() if pid}

    @property
    def servers(self) -> tuple[str, ...]:
        """Names of the servers' processes that are ours."""
        return (*self.stack.kafka.names, *(() if self.options.mongo_uri else ("mongo",)))

    # -- draining

    async def drained(self, group_prefix: str, inputs: Sequence[str], outputs: Sequence[str] = ()) -> "Drained":
        """Waits until the groups of that prefix have read all of `inputs`, and nothing comes out to `outputs` any more.

        Returns:
            How long that took, from this call to the last movement.

        Raises:
            TookTooLong: there was no end of it.
        """
        begun = time.monotonic()
        last, seen = begun, (-1, -1)
        read, written = await self.partitions(inputs), await self.partitions(outputs)
        consumer = AIOKafkaConsumer(**self.kafka())
        await consumer.start()
        async with self._admin() as admin:
            try:
                wanted: dict[TopicPartition, int] = await consumer.end_offsets(read)
                while True:
                    lag = await self._lag(admin, group_prefix, wanted)
                    out = sum((await consumer.end_offsets(written)).values()) if written else 0
                    now = time.monotonic()
                    if (lag, out) != seen:
                        seen, last = (lag, out), now
                    if lag == 0 and now - last > STILL_S:
                        return Drained(last - begun, out)
                    if now - begun > WITHIN_S:
                        raise TookTooLong(f"{group_prefix}*: {lag} records of {', '.join(inputs)} are still unread")
                    await asyncio.sleep(0.02)
            finally:
                await consumer.stop()

    async def worked_off(
        self, events: Sequence[Event[Message]], service: str, outputs: Sequence[str], partition: int | None = None
    ) -> "Drained":
        """Writes events as fast as it can, and waits until a service that runs has worked them off.

        Returns:
            How long that took, from the first that was written to the last movement.

        Raises:
            TookTooLong: there was no end of it.
        """
        begun = time.monotonic()
        await self.fill(events, partition)
        filled_s = time.monotonic() - begun
        drained = await self.drained(f"{service}.", sorted({event.topic for event in events}), outputs)
        return Drained(filled_s + drained.seconds, drained.out)

    async def settled(self) -> float:
        """Waits until no service has anything left to do.

        Returns:
            Seconds that they took for it, give or take a quarter of a second.

        Raises:
            TookTooLong: there was no end of it.
        """
        submitted, routed, lifecycle = topics.SUBMITTED.name, topics.ROUTED.name, topics.LIFECYCLE.name
        outcomes, begun = topics.OUTCOMES.name, time.monotonic()
        rounds = (
            ("routing.", (submitted, lifecycle), (routed,)),
            ("tracking.", (submitted, routed, topics.REQUESTS.name), (lifecycle,)),
            ("notification.", (submitted, lifecycle), (outcomes,)),
            ("tracking.", (outcomes,), ()),
        )
        for group, inputs, outputs in rounds:
            await self.drained(group, inputs, outputs)
        return max(0.0, time.monotonic() - begun - len(rounds) * (STILL_S + 0.1))

    async def partitions(self, names: Sequence[str]) -> list[TopicPartition]:
        """All partitions of these topics."""
        if not names:
            return []
        async with self._admin() as admin:
            described = await admin.describe_topics(list(names))
        return [TopicPartition(one["topic"], row["partition"]) for one in described for row in one["partitions"]]

    async def _lag(self, admin: AIOKafkaAdminClient, prefix: str, wanted: Mapping[TopicPartition, int]) -> int:
        """Records that no group of the prefix has read."""
        read: dict[TopicPartition, int] = {}
        try:
            groups = [group for group, _ in await admin.list_consumer_groups() if group.startswith(prefix)]
            for group in groups:
                for partition, committed in (await admin.list_consumer_group_offsets(group)).items():
                    read[partition] = max(read.get(partition, 0), committed.offset)
        except KafkaError:  # a group that is being formed
            return sum(wanted.values())
        return sum(max(0, end - read.get(partition, 0)) for partition, end in wanted.items())


@dataclass(frozen=True)
class Drained:
    """Seconds to the last movement, and the number of records in the topics of what came out."""

    seconds: float
    out: int


def ready_within(url: str, within_s: float = 60) -> float:
    """Seconds until a process says that it is ready.

    Raises:
        TookTooLong: it did not.
    """
    begun = time.monotonic()
    with httpx.Client(timeout=1) as client:
        while time.monotonic() - begun < within_s:
            try:
                if client.get(f"{url}/readyz").status_code == httpx.codes.OK:
                    return time.monotonic() - begun
            except httpx.HTTPError:
                pass
            time.sleep(0.01)
    raise TookTooLong(f"{url} was not ready within {within_s:.0f} s")
