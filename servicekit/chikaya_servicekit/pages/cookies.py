"""Small signed cookies: what a page must remember of its reader, kept in the reader's browser and nowhere else."""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Request
from itsdangerous import BadSignature, URLSafeSerializer
from starlette.responses import Response


class SignedCookie:
    """A few values that a browser keeps and cannot change; void after `life_s` seconds. Scripts cannot read it, and
    other sites' forms do not send it. Not secret from the browser's owner.

    Args:
        name: of the cookie; cookies ignore ports, so begin it with the process's name.
        secret: signs it; the same for all instances of the process.
        public_url: where browsers reach the process; under TLS the cookie is for TLS only.
        now: seconds since the epoch.
    """

    def __init__(
        self, name: str, secret: str, public_url: str, life_s: int, now: Callable[[], float] = time.time
    ) -> None:
        self._secure = public_url.startswith("https:")
        self._name = f"__Host-{name}" if self._secure else name
        self._signer = URLSafeSerializer(secret, salt=name, signer_kwargs={"digest_method": hashlib.sha256})
        self._life_s, self._now = life_s, now

    def read(self, request: Request) -> dict[str, Any] | None:
        """What was kept; None if nothing was, or too long ago, or not by this process."""
        try:
            ends_at, kept = self._signer.loads(request.cookies.get(self._name, ""))
        except (BadSignature, TypeError, ValueError):
            return None
        return dict(kept) if ends_at > self._now() else None

    def keep(self, response: Response, values: Mapping[str, Any]) -> None:
        """Keeps `values` (JSON; 3 kB at most) from now on."""
        signed = str(self._signer.dumps([self._now() + self._life_s, dict(values)]))
        response.set_cookie(
            self._name, signed, self._life_s, path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    def forget(self, response: Response) -> None:
        """Takes it out of the browser."""
        response.delete_cookie(self._name, path="/", secure=self._secure, httponly=True, samesite="lax")
