"""Every message of the pipeline, by CloudEvents type, and where each may appear."""

import re

from ..envelope import Message
from ..topics import Topic
from . import administration, catalogue, channel, intake, lifecycle, notification, requests, routing

_MODULES = (channel, intake, routing, requests, lifecycle, administration, notification, catalogue)

ALL: dict[str, type[Message]] = {
    model.TYPE: model
    for module in _MODULES
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, Message) and "TYPE" in vars(model)
}


def on(*topics: Topic) -> dict[str, type[Message]]:
    """The messages that may appear on these topics, by type: what a consumer of them knows. A topic may be a family,
    or one member of it."""
    return {
        type_: model
        for type_, model in ALL.items()
        if any(topic.name == model.TOPIC.name or re.match(model.TOPIC.pattern, topic.name) for topic in topics)
    }
