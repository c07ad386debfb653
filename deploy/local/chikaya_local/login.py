"""Signs in a ready-made person with no browser, by the standard authorization-code flow: for smoke and journeys."""

import base64
import hashlib
import secrets
from urllib.parse import parse_qs, urlsplit

import httpx


class SignInFailed(Exception):
    """The provider did not give a token; says at which step."""


def token_for(issuer: str, client_id: str, client_secret: str, redirect_uri: str, sub: str) -> str:
    """An access token of `sub`, as a browser would come by it.

    Raises:
        SignInFailed: the provider refused the client, its redirect address or the person.
        httpx.TransportError: the provider cannot be reached.
    """
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    state = secrets.token_urlsafe(16)
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": "openid profile email",
        "state": state,
        "nonce": secrets.token_urlsafe(16),
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    with httpx.Client(timeout=10) as http:
        found = http.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        _expect(found, 200, "discovery")
        endpoints = found.json()
        clicked = http.post(endpoints["authorization_endpoint"], params=asked, data={"sub": sub})
        _expect(clicked, 302, "authorization")
        answer = parse_qs(urlsplit(clicked.headers["location"]).query)
        if answer.get("state") != [state] or "code" not in answer:
            raise SignInFailed(f"authorization: {answer.get('error', ['no code'])[0]}")
        redeemed = http.post(
            endpoints["token_endpoint"],
            auth=(client_id, client_secret),
            data={
                "grant_type": "authorization_code",
                "code": answer["code"][0],
                "redirect_uri": redirect_uri,
                "code_verifier": verifier,
            },
        )
        _expect(redeemed, 200, "token")
        return str(redeemed.json()["access_token"])


def _expect(answer: httpx.Response, status: int, step: str) -> None:
    if answer.status_code != status:
        raise SignInFailed(f"{step}: HTTP {answer.status_code} {answer.text[:200]}")
