"""JSON Schemas of the messages: open ones for consumers, closed ones for producers.

To a consumer, a field that it does not know is no error; to a producer, a field that the contract does not know is a
mistake.
"""

from collections.abc import Callable, Iterable
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from .envelope import Message
from .messages.channel import ChannelSubmission
from .submission import Submission

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


class WithoutFieldTitles(GenerateJsonSchema):
    """Pydantic's schema, less a title at each field that only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _each_object(schema: Any, change: Callable[[Schema], None]) -> None:
    """Applies `change` to every schema of an object with named fields, at all levels."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            change(schema)
        for part in schema.values():
            _each_object(part, change)
    elif isinstance(schema, list):
        for part in schema:
            _each_object(part, change)


def _open(schema: Schema) -> None:
    if schema.get("additionalProperties") is False:
        del schema["additionalProperties"]


def _close(schema: Schema) -> None:
    schema["additionalProperties"] = False


def _schema(model: type[Message], side: str) -> Schema:
    return {
        "$schema": DIALECT,
        "$id": f"urn:chikaya:{side}:{model.TYPE}",
        **model.model_json_schema(schema_generator=WithoutFieldTitles),
        "x-topic": model.TOPIC.name,
        "x-owner": model.OWNER,
    }


def consumer(model: type[Message]) -> Schema:
    """What a consumer of `model` may rely on; open at all levels."""
    schema = _schema(model, "consumer")
    _each_object(schema, _open)
    return schema


def producer(model: type[Message]) -> Schema:
    """What a producer of `model` must keep to; closed at all levels.

    A channel's submission is free for intake to judge, and here is held to the form that intake accepts.
    """
    schema = _schema(model, "producer")
    if model is ChannelSubmission:
        form = Submission.model_json_schema(schema_generator=WithoutFieldTitles)
        schema["$defs"] = {**form.pop("$defs"), "Submission": form}
        schema["properties"]["submission"] = {"$ref": "#/$defs/Submission"}
    _each_object(schema, _close)
    return schema


def together(models: Iterable[type[Message]], ref_template: str) -> Schema:
    """The consumers' schemas of all `models` and of their parts, by class name, for one document."""
    _, document = models_json_schema(
        [(model, "validation") for model in models],
        ref_template=ref_template,
        schema_generator=WithoutFieldTitles,
    )
    _each_object(document, _open)
    definitions: Schema = document["$defs"]
    return definitions
