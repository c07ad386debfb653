"""How a case is written: one document for each write, which holds what that write has added, and is never changed.

Messages are kept as their JSON, so that they read back exactly as they were said.
"""

from collections.abc import Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, cast

from chikaya_contracts import messages
from chikaya_contracts.envelope import Event, Message
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.lifecycle import CaseEvent

from ..domain.case import Cause
from ..domain.case_file import Applied, CaseFile, Told, key
from .cases import Change
from .inserts import Document


def step(change: Change) -> Document:
    """What a change adds to a case. Empty parts are left out."""
    before, after = change.before, change.after
    parts: Document = {
        "filing": _json(after.filing) if after.filing and not before.filing else None,
        "history": [message(event) for event in after.history[len(before.history) :]],
        "texts": _added(before.texts, after.texts),
        "applied": [_applied(one) for one in after.applied[len(before.applied) :]],
        "inboxes": _added(before.inboxes, after.inboxes),
        "overflowed": list(after.overflowed - before.overflowed),
    }
    if before.parked or after.parked:
        parts["parked"] = [_parked(one) for one in after.parked if not before.parks(one)]
        parts["let_in"] = [list(key(one)) for one in before.parked if not after.parks(one)]
    return {name: part for name, part in parts.items() if part}


def restored(complaint_id: str, steps: Sequence[Document]) -> CaseFile:
    """The case that its steps, in order, amount to."""
    filing: ComplaintSubmitted | None = None
    history: list[CaseEvent] = []
    texts: dict[str, str] = {}
    applied: list[Applied] = []
    parked: dict[tuple[str, str], Cause] = {}
    inboxes: dict[str, str] = {}
    overflowed: set[str] = set()
    for part in steps:
        if "filing" in part:
            filing = ComplaintSubmitted.model_validate_json(part["filing"])
        history += [cast(CaseEvent, read(row)) for row in part.get("history", ())]
        texts |= part.get("texts", {})
        applied += [_read_applied(row) for row in part.get("applied", ())]
        parked |= {key(cause): cause for cause in map(_read_parked, part.get("parked", ()))}
        for topic, id in part.get("let_in", ()):
            parked.pop((topic, id), None)
        inboxes |= part.get("inboxes", {})
        overflowed.update(part.get("overflowed", ()))
    return CaseFile.restored(
        complaint_id=complaint_id,
        version=len(steps),
        filing=filing,
        history=tuple(history),
        texts=MappingProxyType(texts),
        applied=tuple(applied),
        parked=tuple(parked.values()),
        inboxes=MappingProxyType(inboxes),
        overflowed=frozenset(overflowed),
    )


def message(data: Message) -> Document:
    """A message with its type, for `read`."""
    return {"type": data.TYPE, "data": _json(data)}


def read(row: Document) -> Message:
    """The message that `message` gave."""
    return messages.ALL[row["type"]].model_validate_json(row["data"])


def _json(data: Message) -> str:
    return data.model_dump_json(exclude_none=True)


def _added(before: Any, after: Any) -> Document | None:
    return None if after is before else {name: value for name, value in after.items() if before.get(name) != value}


def _applied(one: Applied) -> Document:
    row: Document = {"topic": one.topic, "id": one.id, "sequences": list(one.sequences)}
    if one.told:
        row["told"] = [[told.administration, told.kind, told.sequence] for told in one.told]
    if one.to_routing is not None:
        row["to_routing"] = one.to_routing
    if one.decision is not None:
        row["decision"] = one.decision
    if one.released:
        row["released"] = [list(pair) for pair in one.released]
    return row


def _read_applied(row: Document) -> Applied:
    return Applied(
        topic=row["topic"],
        id=row["id"],
        sequences=tuple(row["sequences"]),
        told=tuple(Told(*told) for told in row.get("told", ())),
        to_routing=row.get("to_routing"),
        decision=row.get("decision"),
        released=tuple((topic, id) for topic, id in row.get("released", ())),
    )


def _parked(cause: Cause) -> Document:
    return {
        **message(cause.data),
        "id": cause.id,
        "source": cause.source,
        "time": cause.time.isoformat(),
        "topic": cause.topic,
        "extensions": cause.extensions,
        "traceparent": cause.traceparent,
    }


def _read_parked(row: Document) -> Cause:
    return Event(
        id=row["id"],
        source=row["source"],
        time=datetime.fromisoformat(row["time"]),
        data=read(row),
        topic=row["topic"],
        extensions=row["extensions"],
        traceparent=row["traceparent"],
    )
