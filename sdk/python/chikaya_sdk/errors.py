"""What can go wrong, one class for each thing that a caller can do about it.

Over HTTP they are made from the problem (RFC 9457) that the service answered; `problem` holds it whole.
"""

from collections.abc import Sequence
from typing import Any

from chikaya_contracts.messages.channel import FieldError


class ChikayaError(Exception):
    """Every error of this package. `problem` is the RFC 9457 document, {} where there was none; `errors` says in
    French and Arabic what is wrong, for whom it is to be shown."""

    def __init__(self, message: str, problem: dict[str, Any] | None = None, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.problem = problem or {}
        self.errors = tuple(errors)


class Refused(ChikayaError):
    """What was sent cannot be accepted as it is (422, and 400, 413, 415): correct it; `errors` names each field."""

    def __init__(self, errors: Sequence[FieldError], problem: dict[str, Any] | None = None) -> None:
        named = "; ".join(f"{error.field}: {error.code}" for error in errors)
        super().__init__(named or (problem or {}).get("detail") or "refused", problem, errors)


class Conflict(ChikayaError):
    """The state of things forbids it (409): the case's state, or an idempotency key used for another body."""


class NotFound(ChikayaError):
    """There is no such thing, or its access code is wrong (404): the service does not tell which."""


class NotAllowed(ChikayaError):
    """The key, the token, or the Kafka user's rights do not allow it (401, 403, refused by an ACL)."""


class Unavailable(ChikayaError):
    """The service or the broker is away, tries used up (503, no connection): repeat after `retry_after` seconds.

    Repeat with the same idempotency key, sender's id or decision's id: then it takes effect once.
    """

    def __init__(self, message: str, retry_after: float, problem: dict[str, Any] | None = None) -> None:
        super().__init__(message, problem)
        self.retry_after = retry_after


class TooManyTries(Unavailable):
    """The service limits how often this may be asked (429): wait for `retry_after` seconds."""
