"""The complaints of the demonstration (`demonstration.yaml`), and filing them when a stack is made."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from chikaya_sdk import Intake, KafkaChannel, Submission

from chikaya_local.stack import Stack

FILE = Path(__file__).with_suffix(".yaml")

Way = Literal["web", "app", "callcenter", "kiosk"]
KEYS: dict[str, str] = {"web": "portal", "app": "app", "callcenter": "callcenter"}
"""Way in → channel whose API key is used where no page is walked through."""


@dataclass(frozen=True)
class Complaint:
    """One of the twelve. `outcome` is what must happen to it first (`triage`, `inadmissible`), or None;
    `administration` answers it in the end (None for the inadmissible one); `place_name` is what a person types where
    a form asks for the commune."""

    id: str
    way: Way
    submission: Submission
    place_name: str
    administration: str | None
    outcome: str | None


def complaints() -> list[Complaint]:
    """All of them, in the order of the file."""
    return [
        Complaint(
            id=row["id"],
            way=row["way"],
            submission=Submission(
                text=row["text"],
                place={"commune": row["place"]["commune"]} if "place" in row else None,
                contact=row["contact"],
                language=row["language"],
                consent=True,
            ),
            place_name=row["place"]["name"] if "place" in row else "",
            administration=row.get("administration"),
            outcome=row.get("outcome"),
        )
        for row in yaml.safe_load(FILE.read_text("utf-8"))
    ]


def demonstrate(stack: Stack) -> None:
    """Files the twelve, so that whoever opens the pages for the first time finds something there."""
    with stack.report.task("Filing twelve complaints"):
        asyncio.run(_file_all(stack))


async def _file_all(stack: Stack) -> None:
    kafka = stack.kafka_env("channel-kiosk")
    async with KafkaChannel("kiosk", kafka["KAFKA_BOOTSTRAP"], kafka["KAFKA_USER"], kafka["KAFKA_PASSWORD"]) as kiosk:
        for complaint in complaints():
            if complaint.way == "kiosk":
                await kiosk.submit(complaint.submission, sender_id=f"demonstration-{complaint.id}")
                continue
            key = stack.secrets.channel_keys[KEYS[complaint.way]]
            async with Intake(stack.url("intake"), key) as intake:
                await intake.submit(complaint.submission, idempotency_key=f"demonstration-{complaint.id}")
