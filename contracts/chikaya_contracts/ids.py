"""Identifiers: of events, of complaints, and of what follows from an event."""

import uuid_utils


def new_id() -> str:
    """A UUIDv7 (RFC 9562): for what a person starts; sorts by time."""
    return str(uuid_utils.uuid7())


def consequence_id(cause: str, type: str, target: str = "") -> str:
    """The UUIDv5 of what follows from event `cause`: the same each time that the cause is delivered.

    Args:
        cause: id of the event that leads to this one.
        type: CloudEvents type of the consequence.
        target: tells apart several consequences of one type (an administration's slug, a decision's number).
    """
    return str(uuid_utils.uuid5(uuid_utils.NAMESPACE_OID, f"{cause}\n{type}\n{target}"))
