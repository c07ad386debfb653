"""The local OpenID provider: a real process, the standard flow, and nothing that the flow does not need."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from chikaya_local.identity.provider import IdentitySettings, RegisteredClient
from chikaya_local.login import SignInFailed, token_for
from pydantic import SecretStr

PORT = 22040
ISSUER = f"http://127.0.0.1:{PORT}"
CALLBACK = "http://127.0.0.1:22041/login/callback"
SECRET = "a-client-secret-for-tests"


@pytest.fixture(scope="module")
def provider() -> Iterator[None]:
    clients = {"desk": {"secret": SECRET, "redirect_uris": [CALLBACK]}}
    environment = {**os.environ, "CHIKAYA_PORT": str(PORT), "CHIKAYA_OIDC_CLIENTS": json.dumps(clients)}
    process = subprocess.Popen([sys.executable, "-m", "chikaya_local.identity"], env=environment)
    try:
        deadline = time.monotonic() + 20
        while True:
            assert process.poll() is None
            try:
                assert httpx.get(f"{ISSUER}/readyz").status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def sign_in(sub: str, secret: str = SECRET, redirect_uri: str = CALLBACK, client_id: str = "desk") -> str:
    return token_for(ISSUER, client_id, secret, redirect_uri, sub)


def authorize(**changes: str) -> httpx.Response:
    asked = {
        "response_type": "code",
        "client_id": "desk",
        "redirect_uri": CALLBACK,
        "scope": "openid profile email",
        "state": "s",
        "nonce": "n",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    } | changes
    return httpx.get(f"{ISSUER}/oauth2/authorize", params={name: value for name, value in asked.items() if value})


@pytest.mark.parametrize(
    ("sub", "roles", "administration"),
    [
        ("triage@chikaya.local", ["triage"], None),
        ("supervisor.habous@chikaya.local", ["supervisor"], "habous"),
        ("officer.commune-04-421-01-0@chikaya.local", ["officer"], "commune-04-421-01-0"),
    ],
)
def test_a_person_signs_in_and_the_claims_say_who(
    provider: None, sub: str, roles: list[str], administration: str | None
) -> None:
    token = sign_in(sub)
    claims = httpx.get(f"{ISSUER}/userinfo", headers={"Authorization": f"Bearer {token}"}).json()
    assert claims["sub"] == claims["email"] == sub
    assert claims["roles"] == roles
    assert claims.get("administration") == administration
    assert claims["name"]


def test_every_administration_of_the_table_is_in_the_catalogue() -> None:
    import chikaya_local.identity
    import yaml

    catalogue = Path(__file__).parents[3] / "services/routing/chikaya_routing/data/administrations.csv"
    slugs = {line.split(",")[0] for line in catalogue.read_text("utf-8").splitlines()}
    table = yaml.safe_load((Path(chikaya_local.identity.__file__).parent / "people.yaml").read_text("utf-8"))
    named = {person["administration"] for person in table if "administration" in person}
    assert {slug for slug in named if not slug.startswith("commune-")} <= slugs
    assert len({person["sub"] for person in table}) == len(table)


def test_the_issuer_is_one_address_whatever_the_host_header(provider: None) -> None:
    answer = httpx.get(f"{ISSUER}/.well-known/openid-configuration", headers={"Host": "evil.example"}).json()
    assert answer["issuer"] == ISSUER
    assert answer["token_endpoint"].startswith(ISSUER)


def test_a_provider_that_listens_everywhere_must_be_told_its_name() -> None:
    clients = {"desk": RegisteredClient(secret=SecretStr(SECRET), redirect_uris=[CALLBACK])}
    with pytest.raises(ValueError, match="CHIKAYA_PUBLIC_URL"):
        IdentitySettings(host="0.0.0.0", oidc_clients=clients)
    named = IdentitySettings(host="0.0.0.0", public_url="http://identity.localhost:8027/", oidc_clients=clients)
    assert named.issuer == "http://identity.localhost:8027"


def test_the_page_lists_people_in_french_and_arabic_and_fetches_nothing(provider: None) -> None:
    page = authorize()
    assert page.status_code == 200
    assert 'value="officer.oncf@chikaya.local"' in page.text
    assert "سلمى بناني" in page.text
    assert "https://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "stranger"},
        {"redirect_uri": "http://evil.example/login/callback"},
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
    ],
)
def test_a_request_that_is_not_a_registered_clients_is_refused(provider: None, changes: dict[str, str]) -> None:
    answer = authorize(**changes)
    assert answer.status_code == 400
    assert "evil.example" not in answer.headers.get("location", "")


def test_what_is_not_known_gets_no_token(provider: None) -> None:
    with pytest.raises(SignInFailed, match="token"):
        sign_in("triage@chikaya.local", secret="not-the-secret-of-desk")
    with pytest.raises(SignInFailed, match="authorization"):
        sign_in("stranger@chikaya.local")
    with pytest.raises(SignInFailed, match="authorization"):
        sign_in("triage@chikaya.local", client_id="stranger")
    assert httpx.get(f"{ISSUER}/userinfo", headers={"Authorization": "Bearer made-up"}).status_code == 401


def test_a_code_is_worth_nothing_without_its_proof_key(provider: None) -> None:
    clicked = httpx.post(
        f"{ISSUER}/oauth2/authorize",
        params=dict(authorize().request.url.params),
        data={"sub": "triage@chikaya.local"},
    )
    code = httpx.URL(clicked.headers["location"]).params["code"]
    redeem = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": "guessed"}
    answer = httpx.post(f"{ISSUER}/oauth2/token", auth=("desk", SECRET), data=redeem)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_grant"


def test_the_librarys_back_doors_are_shut(provider: None) -> None:
    claims = {"roles": ["operator"]}
    assert httpx.put(f"{ISSUER}/users/triage@chikaya.local", json=claims).status_code == 404
    assert httpx.post(f"{ISSUER}/oauth2/clients", json={"redirect_uris": ["http://evil.example"]}).status_code == 404
    assert httpx.get(f"{ISSUER}/oidc/login").status_code == 404
    assert (
        httpx.get(f"{ISSUER}/?__debugger__=yes&cmd=resource&f=debugger.js")
        .headers["content-type"]
        .startswith("text/html")
    )
    foreign = httpx.get(f"{ISSUER}/oauth2/end_session", params={"post_logout_redirect_uri": "http://evil.example/"})
    assert foreign.status_code == 400
    clicked_elsewhere = httpx.post(
        f"{ISSUER}/oauth2/authorize",
        params=dict(authorize().request.url.params),
        data={"sub": "triage@chikaya.local"},
        headers={"Origin": "http://evil.example"},
    )
    assert clicked_elsewhere.status_code == 403
