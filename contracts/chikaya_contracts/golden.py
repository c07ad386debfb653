"""The golden examples: one whole Kafka record a file, in `examples/<type>/<what it shows>.json`.

They are never changed once consumers exist: a new form of a message is a further example, so that what was written
years ago is still read today. A name that starts with `mistaken-` is one that a consumer must stand and a producer
must not write.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

MISTAKEN = "mistaken-"


@dataclass(frozen=True, slots=True)
class Example:
    """A record as it lies in a topic, `value` parsed; `name` is the file's, without its ending."""

    type: str
    name: str
    topic: str
    key: str
    headers: dict[str, str]
    value: dict[str, Any]

    @classmethod
    def parse(cls, type_: str, name: str, text: str) -> "Example":
        """The example in a file's text.

        Raises:
            ValueError: not JSON, or not a record.
        """
        record = json.loads(text)
        try:
            return cls(type_, name, record["topic"], record["key"], record["headers"], record["value"])
        except (KeyError, TypeError):
            raise ValueError(f"{type_}/{name}.json has no topic, key, headers and value") from None

    @property
    def kafka_value(self) -> bytes:
        """The record's value."""
        return json.dumps(self.value, ensure_ascii=False).encode()

    @property
    def kafka_headers(self) -> list[tuple[str, bytes | None]]:
        """The record's headers."""
        return [(name, text.encode()) for name, text in self.headers.items()]


def examples() -> Iterator[Example]:
    """Every example, by type and name."""
    for folder in sorted(files(__package__).joinpath("examples").iterdir(), key=lambda entry: entry.name):
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            yield Example.parse(folder.name, file.name.removesuffix(".json"), file.read_text("utf-8"))
