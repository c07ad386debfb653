"""The table of processes: what each is, where it listens, and what it is given: its own secrets and no other's.

Who needs a setting finds it here: a principal of Kafka, a database, a staff sign-in, named secrets, others' addresses.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Port = Literal[
    "portal", "intake", "routing", "tracking", "notification", "desk", "callcenter", "inbox", "smtp", "identity"
]

HANDBOOK: Mapping[str, int] = {
    "portal": 8000,
    "intake": 8001,
    "routing": 8002,
    "tracking": 8003,
    "notification": 8004,
    "desk": 8005,
    "callcenter": 8006,
    "inbox": 8025,
    "smtp": 8026,
    "identity": 8027,
}
KAFKA, MONGO = 9092, 27017


@dataclass(frozen=True)
class Ports:
    """Every port of a stack; the same for the same offset, so that two stacks with different ones run side by side.

    Args:
        offset: added to each port that the design fixes (`make up PORT_OFFSET=1000`).
        block: instead, the first of a block of 100 ports that holds them all (and 100 more for each further instance
            of a process): for tests, which must not meet a stack that someone has started.
    """

    offset: int = 0
    block: int | None = None

    def of(self, port: str, instance: int = 1) -> int:
        """Where a process, or its further instance (from 2), listens."""
        further = 100 * (instance - 1)
        return (self.block or 8000 + self.offset) + HANDBOOK[port] - 8000 + further

    @property
    def kafka(self) -> int:
        """The first node's; two ports a node (clients, controllers), one after the other."""
        return KAFKA + self.offset if self.block is None else self.block + 92

    @property
    def mongo(self) -> int:
        """The database's."""
        return MONGO + self.offset if self.block is None else self.block + 70

    def url(self, port: str, instance: int = 1) -> str:
        """The address of a web process."""
        return f"http://127.0.0.1:{self.of(port, instance)}"


@dataclass(frozen=True)
class Program:
    """A row of the table.

    Args:
        port: its name in the table of ports.
        what: what it is, for the person who reads the list of addresses; empty where nobody opens it in a browser.
        kafka: its principal.
        mongo: its database, and its user there.
        staff: it lets staff in, whose tokens it checks at the identity provider; with `session`, it signs them in too.
        session: it has pages that keep a session in a signed cookie.
        secrets: fields of `Secrets` that it is given, each as the setting of the same name.
        channel: the channel whose key it uses at intake.
        calls: settings that hold another process's address → that process.
        settings: its other settings, as they are.
    """

    name: str
    module: str
    port: Port
    what: str = ""
    kafka: str | None = None
    mongo: str | None = None
    staff: bool = False
    session: bool = False
    secrets: tuple[str, ...] = ()
    channel: str | None = None
    calls: Mapping[str, Port] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


PROGRAMS: tuple[Program, ...] = (
    Program("inbox", "chikaya_local.inbox", "inbox", "What was sent by e-mail and SMS", secrets=("sms_token",)),
    Program("identity", "chikaya_local.identity", "identity"),
    Program(
        "intake",
        "chikaya_intake.app",
        "intake",
        "API: file a complaint",
        kafka="intake",
        mongo="intake",
        staff=True,
        secrets=("access_code_secret", "verifier_key", "attachment_link_secret"),
    ),
    Program(
        "routing",
        "chikaya_routing.app",
        "routing",
        "Triage, classification API",
        kafka="routing",
        mongo="routing",
        staff=True,
        session=True,
        settings={"TRIAGE_UNDO_S": "10"},
    ),
    Program(
        "tracking",
        "chikaya_tracking.app",
        "tracking",
        "API: follow a complaint",
        kafka="tracking",
        mongo="tracking",
        staff=True,
        session=True,
        secrets=("verifier_key",),
    ),
    Program(
        "notification",
        "chikaya_notification.app",
        "notification",
        kafka="notification",
        mongo="notification",
        staff=True,
        secrets=("sms_token",),
        calls={"PORTAL_URL": "portal"},
        settings={"MAIL_FROM": "Chikaya <ne-pas-repondre@chikaya.local>"},
    ),
    Program(
        "portal",
        "chikaya_portal.app",
        "portal",
        "The citizen's web site",
        session=True,
        channel="portal",
        calls={"INTAKE_URL": "intake", "TRACKING_URL": "tracking", "ROUTING_URL": "routing"},
    ),
    Program(
        "callcenter",
        "chikaya_callcenter.app",
        "callcenter",
        "The 3737 agent's console",
        staff=True,
        session=True,
        channel="callcenter",
        calls={"INTAKE_URL": "intake", "TRACKING_URL": "tracking", "ROUTING_URL": "routing"},
    ),
    Program(
        "desk",
        "chikaya_desk.app",
        "desk",
        "E-réclamation, for administrations",
        kafka="desk",
        mongo="desk",
        staff=True,
        session=True,
    ),
)


def oidc_clients(ports: Ports, secrets: Mapping[str, str]) -> str:
    """What the identity provider knows of the sites that sign staff in, as JSON: client → secret, return address."""
    clients = {
        program.name: {"secret": secrets[program.name], "redirect_uris": [f"{ports.url(program.port)}/login/callback"]}
        for program in PROGRAMS
        if program.staff and program.session
    }
    return json.dumps(clients)
