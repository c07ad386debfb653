"""Logs hold no personal data, whatever an exception says."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog
from chikaya_contracts.submission import Submission
from chikaya_servicekit.telemetry import configure_logs
from pydantic import ValidationError

NAME = "Salma Idrissi"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a process writes to its log."""
    out, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stdout", out)
    configure_logs("tests", "INFO")
    yield out
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = handlers, level


def fail() -> None:
    try:
        Submission.model_validate({"text": NAME, "contact": {"name": NAME, "phone": NAME}})
    except ValidationError as error:
        raise LookupError(f"nothing for {NAME}") from error


@pytest.mark.parametrize("way", ["structlog", "a library"])
def test_an_exception_is_logged_without_what_it_says(written: io.StringIO, way: str) -> None:
    try:
        fail()
    except LookupError:
        if way == "structlog":
            structlog.get_logger().exception("failed")
        else:
            logging.getLogger("uvicorn.error").exception("failed")
    line = json.loads(written.getvalue())
    assert line["event"] == "failed"
    assert "LookupError" in line["exception"]
    assert "pydantic_core._pydantic_core.ValidationError" in line["exception"]
    assert "test_telemetry.py" in line["exception"]
    assert NAME not in written.getvalue()
