"""SMS by a gateway that speaks HTTP: `POST` {to, text, idempotency_key} with a bearer token."""

import aiohttp

from ..domain.delivery import Away, Deferred, Refused

TIMEOUT = aiohttp.ClientTimeout(total=15.0, sock_connect=5.0)
KEPT_S = 3.0
"""How long a connection is kept idle: servers hang up after five seconds, and what is sent at that moment fails."""
# Wrong token or address of ours, too many requests, a gateway that is not there: nothing to do with one message.
AWAY = frozenset({401, 403, 404, 405, 429, 502, 503, 504})
MAY_PASS = frozenset({408, 425})


class Gateway:
    """Hands SMS over to one gateway, over connections that are kept."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._headers = url, {"Authorization": f"Bearer {token}"}
        self._http: aiohttp.ClientSession | None = None

    async def send(self, id: str, to: str, text: str) -> None:
        """Hands one SMS over. The gateway knows a repeat by the id.

        Raises:
            Refused, Deferred, Away: the gateway did not take it.
        """
        message = {"to": to, "text": text, "idempotency_key": id}
        try:
            async with self._session().post(self._url, json=message, allow_redirects=False) as answer:
                status = answer.status
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise Away(f"SMS gateway: {type(error).__name__}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Deferred(f"SMS gateway: {type(error).__name__}") from error
        if 200 <= status < 300:
            return
        said = f"the SMS gateway answered {status}"
        if status in AWAY or 300 <= status < 400:
            raise Away(said)
        if status in MAY_PASS or status >= 500:
            raise Deferred(said)
        raise Refused(said)

    async def close(self) -> None:
        """Closes the connections."""
        if self._http:
            await self._http.close()

    def _session(self) -> aiohttp.ClientSession:
        # Made at the first message: it belongs to the event loop, which is not there yet when processes are wired.
        if self._http is None:
            connections = aiohttp.TCPConnector(keepalive_timeout=KEPT_S)
            self._http = aiohttp.ClientSession(
                connector=connections, headers=self._headers, timeout=TIMEOUT, trust_env=True
            )
        return self._http
