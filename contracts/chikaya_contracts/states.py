"""The table of states (`states.yaml`): what a case can be, what changes it, who may ask, what the citizen is told."""

from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

StateName = Literal[
    "received", "triage", "routed", "acknowledged", "in_progress", "waiting_for_citizen", "answered", "closed",
    "rejected", "transfer_requested", "reopened", "withdrawn",
]  # fmt: skip
Actor = Literal["citizen", "agent", "channel", "routing", "administration", "clock", "tracking"]


class State(BaseModel):
    """A state: whether the legal clock runs in it, its name and what the citizen is told, in French and Arabic."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    open: bool
    fr: str
    ar: str
    told_fr: str
    told_ar: str


class Transition(BaseModel):
    """A row: the lifecycle event that takes a case from one of `from` to `to`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    event: str
    sources: tuple[str, ...] = Field(alias="from")
    to: str
    by: tuple[Actor, ...]
    when: str = ""


@cache
def _document() -> dict[str, Any]:
    return yaml.safe_load(files(__package__).joinpath("states.yaml").read_text("utf-8"))


@cache
def states() -> dict[str, State]:
    """Every state by name."""
    return {name: State.model_validate(row) for name, row in _document()["states"].items()}


@cache
def transitions() -> tuple[Transition, ...]:
    """Every row of the table."""
    return tuple(Transition.model_validate(row) for row in _document()["transitions"])


@cache
def allowed(event: str, state: str) -> tuple[Transition, ...]:
    """The rows by which `event` (short name) may happen in `state` (`start` before there is a case)."""
    return tuple(row for row in transitions() if row.event == event and state in row.sources)


def diagram() -> str:
    """The table drawn as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2"]
    for row in transitions():
        if row.to != "same":
            lines += [f"    {'[*]' if s == 'start' else s} --> {row.to}: {row.event}" for s in row.sources]
    lines += [f"    {name} --> [*]" for name in ("closed", "rejected", "withdrawn")]
    return "\n".join(lines)
