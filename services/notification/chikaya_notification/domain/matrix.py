"""The table of who is told what (`matrix.yaml`) as data."""

from functools import cache, cached_property
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

Means = Literal["email", "sms"]


class Row(BaseModel):
    """After lifecycle event `event` (short name) the citizen is sent `notice` by each of `by`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: str
    notice: str
    by: tuple[Means, ...]


class Matrix(BaseModel):
    """The whole table; `silent` maps the events that nobody is written to about to the reason why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    notices: tuple[Row, ...]
    silent: dict[str, str]

    def after(self, event: str) -> tuple[Row, ...]:
        """The rows of a lifecycle event, by its short name."""
        return self._by_event.get(event, ())

    @cached_property
    def _by_event(self) -> dict[str, tuple[Row, ...]]:
        events = {row.event for row in self.notices}
        return {event: tuple(row for row in self.notices if row.event == event) for event in events}


@cache
def matrix() -> Matrix:
    """The table as it stands in the file."""
    return Matrix.model_validate(yaml.safe_load(files(__package__).joinpath("matrix.yaml").read_text("utf-8")))
