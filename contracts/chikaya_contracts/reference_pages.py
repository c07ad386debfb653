"""The reference pages of the documentation: topics, states, messages; made from the tables and the models."""

from collections.abc import Iterable, Sequence
from typing import Any

from . import json_schema, messages
from .envelope import Message
from .states import State, Transition, diagram, states, transitions
from .topics import Topic, table

MADE = "<!-- Made by `python -m chikaya_contracts.schemas`; do not edit. -->"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(map(_cell, line))} |" for line in lines]


def _page(*blocks: str | list[str]) -> str:
    return "\n\n".join(block if isinstance(block, str) else "\n".join(block) for block in blocks) + "\n"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _retention(topic: Topic) -> str:
    if topic.compacted:
        return "the last record of each key"
    return "unlimited" if topic.retention_days is None else f"{topic.retention_days} d"


def topics_page() -> str:
    """`docs/reference/topics.md`."""
    rows = [
        [
            f"`{topic.name}`",
            topic.key,
            topic.what,
            _code(topic.writers),
            _code(topic.readers),
            str(topic.partitions),
            _retention(topic),
            "yes" if topic.personal_data else "no",
            "the broker's" if topic.timestamp == "LogAppendTime" else "the producer's",
        ]
        for topic in table()
    ]
    head = ["topic", "key", "what", "written by", "read by", "partitions", "kept", "personal data", "time of a record"]
    on = [[f"`{topic.name}`", _code(messages.on(topic)) or "whatever could not be processed"] for topic in table()]
    return _page(
        MADE,
        "# Topics",
        "`{channel}`, `{administration}` and `{service}` stand for a name each. Writers and readers are Kafka "
        "principals: access rights are made from this table. Administrations that have no system of their own share "
        "the pair of `desk`, with the slug in the header `ce_administration`.",
        _table(head, rows),
        "## What may appear on each",
        _table(["topic", "messages"], on),
    )


def _state_row(name: str, state: State) -> list[str]:
    runs = "runs" if state.open else "has stopped"
    return [f"`{name}`", runs, state.fr, state.ar, state.told_fr, state.told_ar]


def _transition_row(row: Transition) -> list[str]:
    target = "(the same)" if row.to == "same" else f"`{row.to}`"
    return [f"`{row.event}`", _code(row.sources), target, ", ".join(row.by), row.when]


def states_page() -> str:
    """`docs/reference/states.md`."""
    return _page(
        MADE,
        "# The life of a case",
        ["```mermaid", diagram(), "```"],
        "## States",
        "The legal clock runs in a state or has stopped; in `waiting_for_citizen` it stands until the citizen answers.",
        _table(
            [
                "state",
                "legal clock",
                "in French",
                "in Arabic",
                "the citizen is told (French)",
                "the citizen is told (Arabic)",
            ],
            [_state_row(name, state) for name, state in states().items()],
        ),
        "## Transitions",
        "An event `x` is the message `ma.chikaya.case.x.v1`. Whatever is asked and not in this table is refused, and "
        "the refusal is an event too.",
        _table(["event", "from", "to", "who may cause it", "when"], [_transition_row(row) for row in transitions()]),
    )


def _type(schema: dict[str, Any]) -> str:
    """A field's type in words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    limits = {
        "minLength": "from {} characters",
        "maxLength": "up to {} characters",
        "minimum": "from {}",
        "maximum": "to {}",
    }
    words = [schema.get("format", schema.get("type", "any"))]
    words += [text.format(schema[name]) for name, text in limits.items() if name in schema]
    return ", ".join(words)


def _fields(schema: dict[str, Any]) -> list[str]:
    required = schema.get("required", [])
    rows = [
        [f"`{name}`", _type(field), "yes" if name in required else "no"] for name, field in schema["properties"].items()
    ]
    return _table(["field", "type", "required"], rows)


def _message(model: type[Message], schema: dict[str, Any]) -> list[str | list[str]]:
    return [
        f"### `{model.TYPE}`",
        " ".join((model.__doc__ or "").split()),
        f"From {model.OWNER}. Schemas: [producer](../../contracts/schemas/producer/{model.TYPE}.json), "
        f"[consumer](../../contracts/schemas/consumer/{model.TYPE}.json); "
        f"[examples](../../contracts/chikaya_contracts/examples/{model.TYPE}).",
        _fields(schema),
    ]


def messages_page() -> str:
    """`docs/reference/messages.md`."""
    blocks: list[str | list[str]] = []
    parts: dict[str, dict[str, Any]] = {}
    for topic in table():
        if on_it := messages.on(topic):
            blocks.append(f"## On `{topic.name}`")
        for model in on_it.values():
            schema = json_schema.producer(model)
            parts |= schema.get("$defs", {})
            blocks += _message(model, schema)
    blocks.append("## Parts")
    for name, part in sorted(parts.items()):
        blocks += [f"### {name}", " ".join(part.get("description", "").split())]
        blocks.append(_fields(part) if "properties" in part else _type(part))
    return _page(
        MADE,
        "# Messages",
        "CloudEvents 1.0 in Kafka's binary mode: attributes in `ce_*` headers, JSON in the value. Consumers ignore "
        "fields that they do not know; producers write none that are not here. A breaking change is a new version of "
        "the topic (see [contracts](../../contracts/README.md)).",
        *[block for block in blocks if block],
    )
