"""Makes topics, users and access rights from the table of topics; what is there already stays."""

import json
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chikaya_contracts.topics import SERVICES, Topic, expand
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from .settings import ServiceSettings

OPERATOR = "operator"
TIMEOUT_S = 30
ITERATIONS = 4096


@dataclass(frozen=True)
class Plan:
    """What provisioning would do: topics to create, settings to correct, access rights to add, users to make."""

    topics: tuple[Topic, ...]
    settings: tuple[tuple[str, dict[str, str]], ...]
    rights: tuple[AclBinding, ...]
    users: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether all is there already."""
        return not (self.topics or self.settings or self.rights or self.users)


class AdminSettings(ServiceSettings):
    """How Kafka's administrator signs in."""

    SERVICE = "admin"


def admin_client(settings: ServiceSettings) -> AdminClient:
    """An administration client of confluent-kafka, which alone speaks SCRAM and ACL administration."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap,
        "security.protocol": settings.kafka_security,
        "log_level": 0,
    }
    if settings.kafka_security != "PLAINTEXT":
        config |= {
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": settings.kafka_user,
            "sasl.password": settings.kafka_password.get_secret_value(),
        }
    return AdminClient(config)


def principals(administrations: Sequence[str], channels: Sequence[str]) -> tuple[str, ...]:
    """Everyone who signs in to Kafka, but the administrator."""
    return (*SERVICES, OPERATOR, *administrations, *(f"channel-{name}" for name in channels))


def rights(topics: Sequence[Topic], who: Sequence[str]) -> list[AclBinding]:
    """Least privilege from the table: literal on topics, prefixed on each principal's own consumer groups.

    The operator works the dead letters, writes wherever a service reads (replay), and sees every group's lag.
    """

    def allow(kind: ResourceType, name: str, principal: str, *operations: AclOperation, prefixed: bool = False):  # type: ignore[no-untyped-def]
        pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
        return [
            AclBinding(kind, name, pattern, f"User:{principal}", "*", operation, AclPermissionType.ALLOW)
            for operation in operations
        ]

    topic, group = ResourceType.TOPIC, ResourceType.GROUP
    read, write, describe = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE
    wanted: list[AclBinding] = []
    for row in topics:
        for writer in row.writers:
            wanted += allow(topic, row.name, writer, write, describe)
        for reader in row.readers:
            wanted += allow(topic, row.name, reader, read, describe)
        replayed = any(reader in SERVICES for reader in row.readers)
        wanted += allow(topic, row.name, OPERATOR, describe, *([write] if replayed else []))
    for principal in who:
        wanted += allow(group, f"{principal}.", principal, read, prefixed=True)
    wanted += allow(group, "*", OPERATOR, describe)
    wanted += allow(ResourceType.BROKER, "kafka-cluster", OPERATOR, describe)
    return list(dict.fromkeys(wanted))


def settings_of(topic: Topic, replicas: int) -> dict[str, str]:
    """Settings of a topic on the broker. With three replicas, what is acknowledged lies on two at least, and one
    broker may be away; with fewer, one has to do."""
    return {**topic.kafka_config, "min.insync.replicas": str(max(1, replicas - 1))}


def plan(admin: AdminClient, administrations: Sequence[str], channels: Sequence[str]) -> Plan:
    """Compares the table with the broker.

    Raises:
        KafkaException: the broker does not answer, or denies.
    """
    wanted = expand(list(administrations), list(channels))
    metadata = admin.list_topics(timeout=TIMEOUT_S)
    there = set(metadata.topics)
    missing = tuple(topic for topic in wanted if topic.name not in there)
    kept = {topic.name: topic for topic in wanted if topic.name in there}
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in kept]
    differing = []
    for resource, future in (admin.describe_configs(resources, request_timeout=TIMEOUT_S) if resources else {}).items():
        present = future.result(TIMEOUT_S)
        replicas = len(metadata.topics[resource.name].partitions[0].replicas)
        asked = settings_of(kept[resource.name], replicas)
        differences = {
            name: value for name, value in asked.items() if name not in present or present[name].value != value
        }
        if differences:
            differing.append((resource.name, differences))
    any_name: Any = None  # which the library's own types do not know
    anything = AclBindingFilter(
        ResourceType.ANY, any_name, ResourcePatternType.ANY, any_name, any_name, AclOperation.ANY, AclPermissionType.ANY
    )
    present_rights = set(admin.describe_acls(anything, request_timeout=TIMEOUT_S).result(TIMEOUT_S))
    who = principals(administrations, channels)
    described: Any = admin.describe_user_scram_credentials()
    users = described.result(TIMEOUT_S)
    return Plan(
        topics=missing,
        settings=tuple(differing),
        rights=tuple(right for right in rights(wanted, who) if right not in present_rights),
        users=tuple(name for name in who if name not in users),
    )


def apply(
    settings: ServiceSettings, todo: Plan, brokers: int, passwords: dict[str, str], progress: Callable[[str], None]
) -> None:
    """Does what the plan says. Safe to repeat.

    Args:
        brokers: how many there are; topics are made with as many replicas, but three at most.
        passwords: of every user in the plan.

    Raises:
        KafkaException: naming what the broker refused.
    """
    admin = admin_client(settings)
    if todo.topics:
        progress(f"{len(todo.topics)} topics")
        replicas = min(3, brokers)
        created = admin.create_topics(
            [NewTopic(row.name, row.partitions, replicas, config=settings_of(row, replicas)) for row in todo.topics],
            request_timeout=TIMEOUT_S,
        )
        for future in created.values():
            _settled(future)
    if todo.settings:
        progress(f"settings of {len(todo.settings)} topics")
        changes = [
            ConfigResource(
                ConfigResource.Type.TOPIC,
                name,
                incremental_configs=[
                    ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
                    for key, value in values.items()
                ],
            )
            for name, values in todo.settings
        ]
        for future in admin.incremental_alter_configs(changes, request_timeout=TIMEOUT_S).values():
            _settled(future)
    if todo.rights:
        progress(f"{len(todo.rights)} access rights")
        for future in admin.create_acls(list(todo.rights), request_timeout=TIMEOUT_S).values():
            _settled(future)
    if todo.users:
        progress(f"users: {len(todo.users)}")
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
        upserts: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(name, scram, password=passwords[name].encode()) for name in todo.users
        ]
        for future in admin.alter_user_scram_credentials(upserts).values():
            _settled(future)
        _wait_for_sign_in(settings, todo.users[-1], passwords[todo.users[-1]])


def _wait_for_sign_in(settings: ServiceSettings, user: str, password: str) -> None:
    """A new user can sign in about a second after it is made; they are made in order, so the last one is asked."""
    theirs = settings.model_copy(update={"kafka_user": user, "kafka_password": SecretStr(password)})
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            admin_client(theirs).list_topics(timeout=1)
            return
        except KafkaException:
            if time.monotonic() > deadline:
                raise


def _settled(future) -> None:  # type: ignore[no-untyped-def]
    try:
        future.result(TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def passwords_for(users: Sequence[str], file: Path) -> dict[str, str]:
    """Passwords of all users, from a JSON file that only its owner may read; new users get new ones, added to it."""
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    missing = [name for name in users if name not in known]
    if missing:
        known |= {name: secrets.token_urlsafe(24) for name in missing}
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(known, out, indent=1)
        draft.replace(file)
    return known
