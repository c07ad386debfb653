"""SMS by a gateway that speaks HTTP: `POST` {to, text, idempotency_key} with a bearer token."""

import httpx

from ..domain.delivery import Away, Deferred, Refused

TIMEOUT_S = 15.0
# Wrong token or address of ours, too many requests, a gateway that is not there: nothing to do with one message.
AWAY = frozenset({401, 403, 404, 405, 429, 502, 503, 504})
MAY_PASS = frozenset({408, 425})


class Gateway:
    """Hands SMS over to one gateway, over connections that are kept."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S, headers={"Authorization": f"Bearer {token}"})

    async def send(self, id: str, to: str, text: str) -> None:
        """Hands one SMS over. The gateway knows a repeat by the id.

        Raises:
            Refused, Deferred, Away: the gateway did not take it.
        """
        try:
            answer = await self._http.post(self._url, json={"to": to, "text": text, "idempotency_key": id})
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            raise Away(f"SMS gateway: {type(error).__name__}") from error
        except httpx.TransportError as error:
            raise Deferred(f"SMS gateway: {type(error).__name__}") from error
        if answer.is_success:
            return
        said = f"the SMS gateway answered {answer.status_code}"
        if answer.status_code in AWAY or answer.is_redirect:
            raise Away(said)
        if answer.status_code in MAY_PASS or answer.is_server_error:
            raise Deferred(said)
        raise Refused(said)

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()
