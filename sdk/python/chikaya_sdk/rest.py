"""Calls to a service over HTTP: retries that are safe, and problems (RFC 9457) as exceptions."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack
from urllib.parse import quote

import httpx
from chikaya_contracts.messages.channel import FieldError
from pydantic import ValidationError

from .errors import ChikayaError, Conflict, NotAllowed, NotFound, Refused, TooManyTries, Unavailable

TRIES = 4
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0
TIMEOUT_S = 10.0
AWAY = frozenset({502, 503, 504})


class Options(TypedDict, total=False):
    """`http`: a client of your own, with its proxy, certificates, timeouts; it is left open. `sleep`: waits between
    tries; tests give their own."""

    http: httpx.AsyncClient
    sleep: Callable[[float], Awaitable[None]]


class Service:
    """One service's API: an async context manager; or close it yourself. `url` has no path."""

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        self._url = url.rstrip("/")
        self._own = "http" not in options
        self._http = options.get("http") or httpx.AsyncClient(timeout=TIMEOUT_S)
        self._sleep = options.get("sleep", asyncio.sleep)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections, unless the client is yours."""
        if self._own:
            await self._http.aclose()

    async def _call(self, method: str, path: str, **request: Any) -> Any:
        """The JSON of a successful answer. Only for what may be repeated: reads, and posts with a key of their own.

        Raises:
            ChikayaError: the class says what to do.
        """
        failure = Unavailable("not tried", 1.0)
        for attempt in range(TRIES):
            wait = FIRST_WAIT_S * 2**attempt * random.uniform(0.8, 1.2)
            try:
                response = await self._http.request(method, self._url + path, **request)
            except httpx.TransportError as error:
                failure = Unavailable(f"{self._url} cannot be reached: {type(error).__name__}", wait)
                failure.__cause__ = error
            else:
                if response.is_success:
                    return response.json()
                if response.status_code not in AWAY:
                    raise problem(response)
                failure = Unavailable(_title(response), retry_after(response, wait), _document(response))
            if attempt == TRIES - 1 or failure.retry_after > LONGEST_WAIT_S:
                break
            await self._sleep(max(wait, failure.retry_after))
        raise failure


def segment(text: str) -> str:
    """A value as one segment of a path."""
    return quote(text, safe="")


def bearer(token: str) -> dict[str, str]:
    """The header by which a member of staff is known."""
    return {"Authorization": f"Bearer {token}"}


def problem(response: httpx.Response) -> ChikayaError:
    """The exception for an answer that is no success."""
    document, title = _document(response), _title(response)
    match response.status_code:
        case 400 | 413 | 415 | 422:
            return Refused(_field_errors(document), document)
        case 409:
            return Conflict(title, document, _field_errors(document))
        case 404:
            return NotFound(title, document)
        case 401 | 403:
            return NotAllowed(title, document)
        case 429:
            return TooManyTries(title, retry_after(response, LONGEST_WAIT_S), document)
        case _:
            return ChikayaError(title, document)


def retry_after(response: httpx.Response, default: float) -> float:
    """Seconds to wait as the answer says; `default` where it does not say so in seconds."""
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() else default


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _title(response: httpx.Response) -> str:
    document = _document(response)
    said = document.get("detail") or document.get("title") or response.reason_phrase
    return f"{response.status_code} {said}"


def _field_errors(document: dict[str, Any]) -> list[FieldError]:
    try:
        return [FieldError.model_validate(row) for row in document.get("errors", [])]
    except (ValidationError, TypeError):
        return []
