"""Lifecycle events, contacts and notices for notification's tests."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from chikaya_contracts import reference
from chikaya_contracts.envelope import Event
from chikaya_contracts.messages import ALL
from chikaya_contracts.messages.lifecycle import CaseEvent

AT = datetime(2026, 3, 2, 9, 12, 30, tzinfo=UTC)
CONTENT: dict[str, dict[str, Any]] = {
    "received": {
        "channel": "portal",
        "nature": "complaint",
        "language": "fr",
        "relay_due": AT + timedelta(days=15),
        "answer_due": AT + timedelta(days=60),
    },
    "triaged": {"decision": 1, "reason": "unsure"},
    "routed": {"decision": 1, "administration": "cnss"},
    "rejected": {"decision": 1, "reason": "court"},
    "question-asked": {"asked_by": "administration", "text_id": "t1", "administration": "cnss"},
    "question-answered": {"text_id": "t2", "answer_due": AT + timedelta(days=70), "administration": "cnss"},
    "supplemented": {"text_id": "t3"},
    "answered": {"text_id": "t4", "administration": "cnss"},
    "transfer-requested": {"text_id": "t5", "administration": "cnss"},
    "rated": {"score": 4, "administration": "cnss"},
    "reopened": {"text_id": "t6", "answer_due": AT + timedelta(days=120), "administration": "cnss"},
    "deadline-warned": {"threshold": "answer-warned", "due": AT},
    "deadline-breached": {"threshold": "answer-breached", "due": AT},
    "request-refused": {"request": "ma.chikaya.request.rate.v1", "by": "citizen", "reason": "state"},
}
STATE = {
    "received": "received",
    "triaged": "triage",
    "routed": "routed",
    "rejected": "rejected",
    "question-asked": "waiting_for_citizen",
    "question-answered": "in_progress",
    "answered": "answered",
    "transfer-requested": "transfer_requested",
    "reopened": "reopened",
    "withdrawn": "withdrawn",
    "rated": "closed",
    "closed": "closed",
}
Happened = Callable[..., Event[CaseEvent]]


def happened(name: str, sequence: int = 1, complaint_id: str = "c1", **more: Any) -> Event[CaseEvent]:
    """A lifecycle event by its short name."""
    model = ALL[f"ma.chikaya.case.{name}.v1"]
    at = AT + timedelta(minutes=sequence)
    data = model.model_validate(
        {
            "complaint_id": complaint_id,
            "reference": reference.make(2026, 123),
            "sequence": sequence,
            "at": at,
            "state": STATE.get(name, "in_progress"),
            "cause": f"cause-{sequence}",
            **CONTENT.get(name, {}),
            **more,
        }
    )
    return Event(f"{complaint_id}-{sequence}", "/tracking", at, data, model.TOPIC.name)


@pytest.fixture(name="happened", scope="session")
def _happened() -> Happened:
    return happened
