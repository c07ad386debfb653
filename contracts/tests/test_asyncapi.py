"""The AsyncAPI document: valid by AsyncAPI's own schema, whole, and the same as the table of topics."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from chikaya_contracts import asyncapi, messages
from chikaya_contracts.golden import Example
from chikaya_contracts.topics import table
from jsonschema import Draft7Validator, Draft202012Validator

SPECIFICATION = Path(__file__).parent / "data" / "asyncapi-3.0.0.schema.json"


@cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(asyncapi.text())
    return loaded


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for name, inner in part.items():
            if name != "examples":
                yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def pointed(reference: str) -> Any:
    part: Any = document()
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return part


def test_it_is_valid_by_the_schema_of_asyncapi_3() -> None:
    validator = Draft7Validator(json.loads(SPECIFICATION.read_text("utf-8")))
    assert [error.message for error in validator.iter_errors(document())] == []


def test_that_schema_would_notice_a_mistake() -> None:
    validator = Draft7Validator(json.loads(SPECIFICATION.read_text("utf-8")))
    operations = {"tracking.dream.x": {"action": "dream", "channel": {"$ref": "#/channels/x"}}}
    assert not validator.is_valid({**document(), "operations": operations})


def test_every_reference_leads_somewhere() -> None:
    found = set(references(document()))
    assert found
    for reference in found:
        assert pointed(reference), reference


def test_channels_are_the_table_of_topics() -> None:
    channels = document()["channels"].values()
    assert [channel["address"] for channel in channels] == [topic.name for topic in table()]
    for channel, topic in zip(channels, table(), strict=True):
        assert set(channel.get("parameters", {})) == ({topic.placeholder} if topic.placeholder else set())
        assert channel["x-personal-data"] == topic.personal_data
        assert channel["bindings"]["kafka"]["partitions"] == topic.partitions


@pytest.mark.parametrize("topic", table(), ids=lambda topic: topic.name)
def test_everyone_in_the_table_has_an_operation_with_messages(topic: Any) -> None:
    channel = asyncapi.channel_id(topic)
    operations = {
        name: operation
        for name, operation in document()["operations"].items()
        if operation["channel"]["$ref"] == f"#/channels/{channel}"
    }
    expected = {f"{asyncapi.principal(who)}.send.{channel}" for who in topic.writers}
    expected |= {f"{asyncapi.principal(who)}.receive.{channel}" for who in topic.readers}
    assert set(operations) == expected
    assert all(operation["messages"] for operation in operations.values())
    tags = {tag["name"] for tag in document()["info"]["tags"]}
    assert {operation["tags"][0]["name"] for operation in operations.values()} <= tags


def test_every_message_is_sent_by_one_and_received_by_some() -> None:
    sent = [
        message["$ref"].rsplit("/", 1)[-1]
        for operation in document()["operations"].values()
        for message in operation["messages"]
        if operation["action"] == "send"
    ]
    assert sorted(sent) == sorted([*messages.ALL, asyncapi.DEAD_LETTER, asyncapi.DEAD_LETTER_MARK])


def test_an_examples_headers_fit_the_messages_headers(example: Example) -> None:
    message = document()["components"]["messages"][example.type]
    schema = {**message["headers"], "components": {"schemas": document()["components"]["schemas"]}}
    Draft202012Validator(schema).validate(example.headers)
    payload = {**message["payload"], "components": {"schemas": document()["components"]["schemas"]}}
    Draft202012Validator(payload).validate(example.value)
    assert example.name in [shown["name"] for shown in message["examples"]]


def test_a_message_says_where_its_schemas_are() -> None:
    contracts = Path(__file__).parents[1]
    for type_ in messages.ALL:
        message = document()["components"]["messages"][type_]
        assert (contracts / message["x-producer-schema"]).is_file()
        assert (contracts / message["x-consumer-schema"]).is_file()
        assert message["summary"]
