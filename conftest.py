"""Servers that tests of several packages share: a real Kafka, provisioned from the table of topics, and a database."""

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

OWN_SYSTEMS = ("cnss", "onee")
CHANNEL = "kiosk"
DATABASES = ("tracking", "notification", "desk", "contract")
CACHE = Path(os.environ.get("CHIKAYA_LOCAL_CACHE") or Path(__file__).parent / ".local" / "cache")


@dataclass(frozen=True)
class Broker:
    """A running broker and its users' passwords."""

    bootstrap: str
    passwords: dict[str, str]

    def environment(self, principal: str) -> dict[str, str]:
        """Settings of a process that signs in as `principal`."""
        return {
            "CHIKAYA_KAFKA_BOOTSTRAP": self.bootstrap,
            "CHIKAYA_KAFKA_USER": principal,
            "CHIKAYA_KAFKA_PASSWORD": self.passwords[principal],
        }

    def client(self, principal: str) -> dict[str, Any]:
        """Keyword arguments of an aiokafka client that signs in as `principal`."""
        return {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": principal,
            "sasl_plain_password": self.passwords[principal],
        }


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nothing listens on."""
    for first in range(25_000 + os.getpid() % 500 * 10, 32_000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise RuntimeError("no free ports between 25000 and 32000")


@pytest.fixture(scope="session")
def database_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Gives a user's address of a real database server: the one that MONGO_URI names, else one of the tests' own."""
    if named := os.environ.get("MONGO_URI"):
        yield lambda _: named
        return
    from chikaya_local.mongo import Mongo

    passwords = {name: f"{name}-of-tests" for name in ("admin", *DATABASES)}
    server = Mongo(tmp_path_factory.mktemp("mongo"), port=free_ports(1), passwords=passwords, cache=CACHE)
    with server.running():
        yield server.uri


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real broker with SCRAM and ACLs; topic pairs for two administrations, and one external channel."""
    from chikaya_local.kafka import Kafka
    from chikaya_servicekit import provisioning

    cluster = Kafka(
        tmp_path_factory.mktemp("kafka"),
        port=free_ports(2),
        admin_password="admin-of-tests",
        broker_password="broker-of-tests",
        cache=CACHE,
    )
    with cluster.running() as bootstrap:
        settings = provisioning.AdminSettings(
            kafka_bootstrap=bootstrap, kafka_user="admin", kafka_password=cluster.admin_password
        )
        todo = provisioning.plan(provisioning.admin_client(settings), OWN_SYSTEMS, [CHANNEL])
        passwords = {name: f"{name}-of-tests" for name in todo.users}
        provisioning.apply(settings, todo, 1, passwords, lambda _: None)
        yield Broker(bootstrap, {"admin": cluster.admin_password, **passwords})
