"""One complaint of a fault run: what is filed, and what the topics have shown of it since."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

FILE = Path(__file__).with_name("complaints.yaml")
KIOSK_SHARE, ASKED_SHARE, BOTH_MEANS_SHARE = 0.15, 0.3, 0.1
TOLD = frozenset({"received", "routed", "rejected", "question-asked", "answered"})
"""The events of a journey that the citizen is written to about (notification's matrix)."""

Way = Literal["app", "kiosk"]


class Happened(NamedTuple):
    """A lifecycle event, as it first appeared on the topic. `type` is its short name, `state` the case's after it."""

    sequence: int
    type: str
    state: str
    id: str


class Decided(NamedTuple):
    """A routing decision. `outcome` is `routed`, `triaged` or `inadmissible`."""

    number: int
    outcome: str
    administration: str | None


class Told(NamedTuple):
    """What became of a notice: `result` is `sent`, `failed` or `skipped`; `event` is the lifecycle event's id."""

    event: str
    by: str
    result: str


@dataclass(slots=True)
class Trail:
    """All that the topics say of one complaint. Each record counts once, by its event id; `copies` counts the rest.

    `history` is in the order of first appearance. `dossiers` has the id of each and whose inbox it lay in.
    """

    seen: set[str] = field(default_factory=set)
    copies: int = 0
    submitted: set[str] = field(default_factory=set)
    decisions: dict[str, Decided] = field(default_factory=dict)
    dossiers: dict[str, str] = field(default_factory=dict)
    history: list[Happened] = field(default_factory=list)
    outcomes: dict[str, Told] = field(default_factory=dict)
    replies_forwarded: int = 0

    def has(self, *types: str) -> bool:
        """Whether one of these lifecycle events has happened."""
        return any(event.type in types for event in self.history)

    @property
    def ended(self) -> bool:
        """Whether the case is where this run takes it."""
        return self.has("rated", "rejected")


@dataclass(slots=True)
class Journey:
    """One complaint on its way, from the citizen's side.

    Times are of `time.monotonic`. `administration` answers it (None: it is rejected). `asked` says that the
    administration asks the citizen first. `key` is the Idempotency-Key, or the sender's id at the kiosk.
    `acknowledged_at` is when a 201, or Kafka's acknowledgement of the kiosk's record, came.
    """

    key: str
    way: Way
    administration: str | None
    asked: bool
    body: str
    email: str | None
    phone: str | None
    filed_at: float = 0.0
    acknowledged_at: float | None = None
    complaint_id: str = ""
    reference: str = ""
    access_code: str = ""
    trail: Trail = field(default_factory=Trail)
    steps: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    @property
    def means(self) -> dict[str, str]:
        """How the citizen can be written to: `email`, `sms` → the address."""
        return {by: to for by, to in (("email", self.email), ("sms", self.phone)) if to}

    @property
    def expected(self) -> tuple[str, ...]:
        """The history that it must come to have; a person's settling is part of it where routing has asked for one."""
        begun = ("received", "triaged") if self.trail.has("triaged") else ("received",)
        if self.administration is None:
            return (*begun, "rejected")
        asked = ("question-asked", "question-answered") if self.asked else ()
        return (*begun, "routed", "acknowledged", *asked, "answered", "rated")


def journeys(seed: int, run: str) -> Iterator[Journey]:
    """Complaints without end, the same for the same seed; `run` (6 digits) makes keys and addresses its own."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = yaml.safe_load(FILE.read_text("utf-8"))
    weights = [row["weight"] for row in rows]
    number = 0
    while True:
        number += 1
        (row,) = rng.choices(rows, weights)
        both, by_phone = rng.random() < BOTH_MEANS_SHARE, rng.random() < 0.5
        email = f"citoyen.{run}.{number}@example.ma" if both or not by_phone else None
        phone = f"+2126{run[-2:]}{number:06d}" if both or by_phone else None
        contact = {"name": f"Citoyen {number}", "email": email, "phone": phone}
        body = {
            "text": row["text"].format(number=number),
            "contact": {name: value for name, value in contact.items() if value},
            "language": row["language"],
            "consent": True,
        }
        if commune := row.get("commune"):
            body["place"] = {"commune": commune}
        yield Journey(
            key=f"faults-{run}-{number}",
            way="kiosk" if rng.random() < KIOSK_SHARE else "app",
            administration=None if row.get("outcome") == "inadmissible" else row["administration"],
            asked=rng.random() < ASKED_SHARE,
            body=json.dumps(body, ensure_ascii=False),
            email=email,
            phone=phone,
        )
