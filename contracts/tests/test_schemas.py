"""The generated files: what they say of the golden examples, and that a difference is noticed."""

from pathlib import Path
from typing import Any

import pytest
from chikaya_contracts import json_schema, messages, schemas
from chikaya_contracts.envelope import Message
from chikaya_contracts.golden import MISTAKEN, Example
from jsonschema import Draft202012Validator

CONSUMER = {type_: Draft202012Validator(json_schema.consumer(model)) for type_, model in messages.ALL.items()}
PRODUCER = {type_: Draft202012Validator(json_schema.producer(model)) for type_, model in messages.ALL.items()}
FREE = ("ma.chikaya.channel.submission.v1", "submission")


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every schema of an object, at all levels."""
    if isinstance(schema, dict):
        own = [schema] if schema.get("type") == "object" else []
        return own + [found for part in schema.values() for found in objects(part)]
    return [found for part in schema for found in objects(part)] if isinstance(schema, list) else []


def widened(value: Any) -> Any:
    """`value` with an unknown field at every level."""
    if isinstance(value, dict):
        return {name: widened(part) for name, part in value.items()} | {"not_yet_invented": 1}
    return [widened(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("model", messages.ALL.values(), ids=messages.ALL)
def test_schemas_are_schemas_open_for_consumers_closed_for_producers(model: type[Message]) -> None:
    for schema in (json_schema.consumer(model), json_schema.producer(model)):
        Draft202012Validator.check_schema(schema)
        assert schema["description"]
    assert not [one for one in objects(json_schema.consumer(model)) if one.get("additionalProperties") is False]
    assert all(one["additionalProperties"] is False for one in objects(json_schema.producer(model)))


def test_an_example_fits_its_consumers_schema_with_unknown_fields_too(example: Example) -> None:
    CONSUMER[example.type].validate(example.value)
    CONSUMER[example.type].validate(widened(example.value))


def test_an_example_fits_its_producers_schema_and_nothing_more(example: Example) -> None:
    assert PRODUCER[example.type].is_valid(example.value) != example.name.startswith(MISTAKEN)
    assert not PRODUCER[example.type].is_valid(widened(example.value))


def test_a_field_that_is_required_is_missed(example: Example) -> None:
    for name in CONSUMER[example.type].schema["required"]:
        lacking = {field: part for field, part in example.value.items() if field != name}
        assert not CONSUMER[example.type].is_valid(lacking)


def test_the_repository_holds_what_the_models_say() -> None:
    assert schemas.differing(schemas.REPOSITORY) == []


def test_writing_brings_a_folder_up_to_date_and_checking_names_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--root", str(tmp_path)]
    assert schemas.main(["--check", *arguments]) == 1
    assert schemas.main(arguments) == 0
    assert schemas.main(["--check", *arguments]) == 0

    changed = "contracts/schemas/consumer/ma.chikaya.case.received.v1.json"
    gone = "docs/reference/states.md"
    stale = "contracts/schemas/producer/ma.chikaya.case.forgotten.v1.json"
    (tmp_path / changed).write_text("{}")
    (tmp_path / gone).unlink()
    (tmp_path / stale).write_text("{}")
    capsys.readouterr()
    assert schemas.main(["--check", *arguments]) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" differs")[0] for line in said] == [changed, stale, gone]

    assert schemas.main(arguments) == 0
    assert not (tmp_path / stale).exists()
    assert schemas.differing(tmp_path) == []
