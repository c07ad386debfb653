"""The AsyncAPI 3.0 document of the whole: channels, who sends and receives on them, messages, examples."""

import re
from typing import Any

import yaml

from . import golden, json_schema, messages
from .envelope import Message
from .topics import INBOX, OUTBOX, Topic, table

Document = dict[str, Any]

PLACEHOLDERS = {
    "channel": ("An external channel's name.", ["kiosk"]),
    "administration": (
        "An administration's slug in the catalogue. All that have no system of their own share `desk`.",
        ["cnss", "commune-06-141-01-0", "desk"],
    ),
    "service": ("A service's name.", ["intake", "routing", "tracking", "notification", "desk"]),
}
PRINCIPALS = {
    "channel": "An external channel, as the principal `channel-<name>`: it may use its own pair of topics only.",
    "intake": "Decides whether a submission is well formed; gives the reference, the access code and the receipt.",
    "routing": "Decides which administration is competent, or that a person must decide, or that it is inadmissible.",
    "tracking": "Owns the case: state, history, legal clock.",
    "administration": "An administration with a system of its own, or `desk` for all others.",
    "desk": "E-réclamation, for administrations that have no system of their own.",
    "notification": "Decides who is told what, when, by which means, in which language.",
    "operator": "People who run the pipeline: dead letters, lag, replay.",
    "service": "Each of the services, for its own dead letters.",
}
"""Who writes and reads: principals of the table of topics, families by their placeholder."""

DEAD_LETTER, DEAD_LETTER_MARK = "dead-letter", "dead-letter-mark"


def principal(written: str) -> str:
    """A principal of the table of topics by its short name: `channel` for `channel-{channel}`."""
    found = re.search(r"\{(\w+)\}", written)
    return found[1] if found else written


def channel_id(topic: Topic) -> str:
    """A topic's id in the document: its name without the placeholder."""
    return re.sub(r"\{\w+\}\.", "", topic.name)


def summary(model: type[Message]) -> str:
    """The first sentence of what a message says of itself."""
    return " ".join((model.__doc__ or "").split()).split(". ")[0].removesuffix(".") + "."


def _on(topic: Topic) -> list[str]:
    return list(messages.on(topic)) or [DEAD_LETTER, DEAD_LETTER_MARK]


def _writer(type_: str) -> str:
    return {DEAD_LETTER: "service", DEAD_LETTER_MARK: "operator"}.get(type_) or messages.ALL[type_].OWNER


def _channel(topic: Topic) -> Document:
    configuration = topic.kafka_config
    channel: Document = {
        "address": topic.name,
        "title": topic.name,
        "description": f"{topic.what[0].upper()}{topic.what[1:]}. Keyed by {topic.key}.",
        "messages": {type_: {"$ref": f"#/components/messages/{type_}"} for type_ in _on(topic)},
    }
    if topic.placeholder:
        description, values = PLACEHOLDERS[topic.placeholder]
        channel["parameters"] = {topic.placeholder: {"description": description, "examples": values}}
    channel["bindings"] = {
        "kafka": {
            "partitions": topic.partitions,
            "topicConfiguration": {
                "cleanup.policy": [configuration["cleanup.policy"]],
                "retention.ms": int(configuration["retention.ms"]),
                "retention.bytes": int(configuration["retention.bytes"]),
            },
            "bindingVersion": "0.4.0",
        }
    }
    channel |= {
        "x-owner": principal(topic.owner),
        "x-personal-data": topic.personal_data,
        "x-timestamp": topic.timestamp,
    }
    return channel


def _operations() -> Document:
    operations: Document = {}
    for topic in table():
        channel = channel_id(topic)
        for action, people in (("send", topic.writers), ("receive", topic.readers)):
            for who in map(principal, people):
                types = [type_ for type_ in _on(topic) if action == "receive" or who == _writer(type_)]
                operations[f"{who}.{action}.{channel}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{channel}"},
                    "summary": f"{who} {'writes' if action == 'send' else 'reads'} {topic.what}",
                    "tags": [{"name": who}],
                    "messages": [{"$ref": f"#/channels/{channel}/messages/{type_}"} for type_ in types],
                }
    return operations


def _message(model: type[Message], examples: list[golden.Example]) -> Document:
    attributes: Document = {"ce_type": {"const": model.TYPE}}
    if model.TOPIC in (INBOX, OUTBOX):
        attributes["ce_administration"] = {
            "type": "string",
            "description": "The administration's slug, on the topics that administrations share through `desk`.",
        }
    return {
        "name": model.TYPE,
        "title": model.__name__,
        "summary": summary(model),
        "contentType": "application/json",
        "headers": {
            "allOf": [{"$ref": "#/components/schemas/CloudEventHeaders"}, {"type": "object", "properties": attributes}]
        },
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        "bindings": _keyed(model.TOPIC.key),
        "examples": [{"name": one.name, "headers": one.headers, "payload": one.value} for one in examples],
        "x-owner": model.OWNER,
        "x-producer-schema": f"schemas/producer/{model.TYPE}.json",
        "x-consumer-schema": f"schemas/consumer/{model.TYPE}.json",
    }


def _dead_letter() -> Document:
    added = {
        "topic": "the topic that the record was read from",
        "partition": "its partition there",
        "offset": "its offset there",
        "timestamp": "its time there, in milliseconds since 1970; a replay keeps it as the legal time",
        "consumer": "the consumer that could not process it",
        "reason": "why; holds no personal data",
        "attempts": "how often it was tried",
        "first_failed_at": "when it failed first",
        "last_failed_at": "when it failed last",
        "behind": "the dead letter of its key that it waits behind, by its offset here, where it did not fail itself",
        "position": "where it failed again after a replay: the offset here of its first dead letter",
    }
    sometimes = ("behind", "position")
    return {
        "name": DEAD_LETTER,
        "title": "DeadLetter",
        "summary": "A record that could not be processed: original key, bytes, headers, and `dl_*` headers.",
        "contentType": "application/octet-stream",
        "headers": _added(added, [name for name in added if name not in sometimes]),
        "payload": {"description": "The original bytes, whatever they are."},
        "bindings": _keyed("key of the original record"),
    }


def _dead_letter_mark() -> Document:
    added = {
        "replayed": "the offset here of a dead letter that was sent back to its topic",
        "to": "the offset that the replay has there",
        "discarded": "the offset here of a dead letter that nobody will process",
        "why": "the operator's reason for that",
        "by": "who did it",
        "at": "when",
    }
    return {
        "name": DEAD_LETTER_MARK,
        "title": "DeadLetterMark",
        "summary": "What an operator did about a dead letter: replayed it, or discarded it.",
        "contentType": "application/octet-stream",
        "headers": {
            **_added(added, ["by", "at"]),
            "oneOf": [{"required": ["dl_replayed", "dl_to"]}, {"required": ["dl_discarded", "dl_why"]}],
        },
        "payload": {"description": "Empty."},
        "bindings": _keyed("key of the dead letter"),
    }


def _added(headers: dict[str, str], required: list[str]) -> Document:
    return {
        "type": "object",
        "required": [f"dl_{name}" for name in required],
        "properties": {f"dl_{name}": {"type": "string", "description": what} for name, what in headers.items()},
    }


def _keyed(description: str) -> Document:
    return {"kafka": {"key": {"type": "string", "description": description}, "bindingVersion": "0.4.0"}}


def _headers() -> Document:
    text = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "description": "CloudEvents 1.0, Kafka protocol binding, binary content mode. Header values are UTF-8.",
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"],
        "properties": {
            "ce_specversion": {"const": "1.0"},
            "ce_id": {
                **text,
                "description": "UUIDv7 for what people start; for what follows from an event, the UUIDv5 of (cause, "
                "type, target), the same each time. Drop what you have already seen.",
            },
            "ce_source": {
                **text,
                "description": "The process that made the event: `/intake`, `/administrations/cnss`.",
            },
            "ce_type": text,
            "ce_time": {**text, "format": "date-time", "description": "With a time zone."},
            "ce_subject": {**text, "description": "The record's key."},
            "content-type": {"const": "application/json"},
            "traceparent": {**text, "description": "W3C Trace Context; pass it on."},
        },
    }


def document() -> Document:
    """The AsyncAPI document as plain data."""
    payloads = json_schema.together(messages.ALL.values(), "#/components/schemas/{model}")
    by_type: dict[str, list[golden.Example]] = {type_: [] for type_ in messages.ALL}
    for one in golden.examples():
        by_type[one.type].append(one)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Chikaya",
            "version": "1.0.0",
            "description": "A national complaint pipeline: every topic, who writes and reads it, and every message. "
            "Made from `contracts/`; do not edit. Payload schemas are the consumers', which are open: ignore fields "
            "that you do not know. Producers keep to the closed schema that `x-producer-schema` names.",
            "license": {"name": "Apache-2.0"},
            "tags": [{"name": name, "description": what} for name, what in PRINCIPALS.items()],
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:9092",
                "protocol": "kafka",
                "description": "What `make up` starts. SASL/SCRAM-SHA-512; each principal may use its own topics only.",
                "security": [{"$ref": "#/components/securitySchemes/scram"}],
            }
        },
        "channels": {channel_id(topic): _channel(topic) for topic in table()},
        "operations": _operations(),
        "components": {
            "messages": {
                **{type_: _message(model, by_type[type_]) for type_, model in messages.ALL.items()},
                DEAD_LETTER: _dead_letter(),
                DEAD_LETTER_MARK: _dead_letter_mark(),
            },
            "schemas": {"CloudEventHeaders": _headers(), **payloads},
            "securitySchemes": {"scram": {"type": "scramSha512", "description": "A Kafka user for each principal."}},
        },
    }


class _Plain(yaml.SafeDumper):
    """Writes repeated parts in full, since many AsyncAPI readers know no YAML anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text() -> str:
    """The AsyncAPI document as YAML."""
    return yaml.dump(document(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
