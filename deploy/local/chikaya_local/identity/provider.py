"""PyPI oidc-provider-mock made fit for a stack that stays up: known people, known clients, no debugger, no back doors.

What is added to the library, and why:

- Clients are those of CHIKAYA_OIDC_CLIENTS, each with its secret and exact redirect addresses; registering more is off.
- People are those of the table; the library would make up a person for any name, and let anyone PUT their claims.
- The issuer is one fixed address, whatever Host header a request carries.
- Proof keys (PKCE, S256, RFC 7636) are asked for and checked; the library ignores them.
- The werkzeug debugger, which runs code for whoever reaches it, is taken off.

Tokens live in memory: they are good for as long as the process, and no longer.
"""

import base64
import hashlib
import hmac
import os
from collections import OrderedDict
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import flask
import jinja2
import oidc_provider_mock
import yaml
from oidc_provider_mock._storage import Client
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

FOLDER = Path(__file__).parent
AS_LONG_AS_THE_PROCESS = timedelta(days=365)
OPEN_CODES = 1000
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104
CLOSED_PATHS = ("/users/", "/oauth2/clients", "/oidc/")


class RegisteredClient(BaseModel):
    """A process with staff pages."""

    model_config = ConfigDict(extra="forbid")

    secret: SecretStr = Field(min_length=16)
    redirect_uris: list[str] = Field(min_length=1)


class PersonRow(BaseModel):
    """A row of the table of people; `email` is `sub` unless said otherwise."""

    model_config = ConfigDict(extra="forbid")

    sub: str
    name: str
    name_ar: str = ""
    email: str = ""
    roles: list[str]
    administration: str | None = None

    def user(self) -> oidc_provider_mock.User:
        claims: dict[str, object] = {"name": self.name, "email": self.email or self.sub, "roles": self.roles}
        if self.administration is not None:
            claims["administration"] = self.administration
        return oidc_provider_mock.User(sub=self.sub, claims=claims)


class IdentitySettings(BaseSettings):
    """Settings of the local provider, from the environment."""

    model_config = SettingsConfigDict(env_prefix="CHIKAYA_", extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8027, description="Port to listen on.")
    public_url: str = Field("", description="The issuer; empty: http://<host>:<port>, where that is an address.")
    people: Path = Field(FOLDER / "people.yaml", description="Table of people, YAML or JSON.")
    oidc_clients: dict[str, RegisteredClient] = Field(
        min_length=1, description='JSON: {"<client id>": {"secret": "…", "redirect_uris": ["…/login/callback"]}}'
    )
    log_level: str = "INFO"

    @model_validator(mode="after")
    def _issuer_is_an_address(self) -> Self:
        if not self.public_url and self.host in EVERYWHERE:
            raise ValueError(f"CHIKAYA_PUBLIC_URL must name the issuer when listening on {self.host}")
        return self

    @property
    def issuer(self) -> str:
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


def create_app(settings: IdentitySettings) -> flask.Flask:
    """The provider as a WSGI application.

    Raises:
        pydantic.ValidationError: the table of people is not as `PersonRow` says.
    """
    # authlib refuses to speak OAuth without TLS unless told; this provider is on loopback.
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    people = TypeAdapter(list[PersonRow]).validate_python(yaml.safe_load(settings.people.read_text("utf-8")))
    app = oidc_provider_mock.app(
        require_client_registration=True,
        require_nonce=True,
        access_token_max_age=AS_LONG_AS_THE_PROCESS,
        user_claims=[person.user() for person in people],
    )
    remove_debugger(app)
    register(app, settings.oidc_clients)
    close_back_doors(app, settings, {person.sub for person in people})
    ProofKeys().watch(app)
    add_pages(app, people)
    app.wsgi_app = FixedHost(app.wsgi_app, settings.issuer)
    return app


def remove_debugger(app: flask.Flask) -> None:
    app.debug = False
    app.wsgi_app = app.wsgi_app.app  # type: ignore[method-assign, attr-defined]


def register(app: flask.Flask, clients: dict[str, RegisteredClient]) -> None:
    """The library only knows registration over HTTP, with ids of its own making; its storage takes ours."""
    with app.test_request_context("/"):
        app.preprocess_request()
        for client_id, client in clients.items():
            flask.g.oidc_provider_mock_storage.store_client(
                Client(
                    id=client_id,
                    secret=client.secret.get_secret_value(),
                    redirect_uris=client.redirect_uris,
                    allowed_scopes=Client.SCOPES_SUPPORTED,
                    token_endpoint_auth_method="client_secret_basic",  # noqa: S106
                )
            )


def close_back_doors(app: flask.Flask, settings: IdentitySettings, known: set[str]) -> None:
    origins = {origin(uri) for client in settings.oidc_clients.values() for uri in client.redirect_uris}

    @app.before_request
    def only_what_is_needed() -> None:
        request = flask.request
        if request.path.startswith(CLOSED_PATHS):
            flask.abort(404)
        if request.path == "/oauth2/authorize" and request.method == "POST":
            # A person is signed in by a click on this provider's own page, never by a form on another site.
            if request.headers.get("Origin", settings.issuer) not in (settings.issuer, request.host_url.rstrip("/")):
                flask.abort(403)
            if request.form.get("action") != "deny" and request.form.get("sub") not in known:
                flask.abort(400, "unknown person")
        if request.path.startswith("/oauth2/end_session"):
            for name in ("post_logout_redirect_uri", "redirect_uri"):
                if request.values.get(name) and origin(request.values[name]) not in origins:
                    flask.abort(400, "unknown address")

    @app.after_request
    def safe_headers(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
        )
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        if flask.request.path == "/userinfo" and response.status_code == 400:
            # RFC 6750, 3.1: an unknown token is 401; the library says 400.
            response.status_code = 401
            response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
        return response


def origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


class ProofKeys:
    """RFC 7636: the challenge that came with the request for a code must fit the verifier that redeems it."""

    def __init__(self) -> None:
        self._challenges: OrderedDict[str, str] = OrderedDict()

    def watch(self, app: flask.Flask) -> None:
        app.before_request(self._check)
        app.after_request(self._remember)

    def _check(self) -> flask.Response | None:
        request = flask.request
        if request.path == "/oauth2/authorize":
            if not request.args.get("code_challenge") or request.args.get("code_challenge_method") != "S256":
                return refusal("invalid_request", "code_challenge with code_challenge_method S256 is required")
        elif request.path == "/oauth2/token" and request.form.get("grant_type") == "authorization_code":
            challenge = self._challenges.pop(request.form.get("code", ""), "")
            digest = hashlib.sha256(request.form.get("code_verifier", "").encode()).digest()
            found = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if not hmac.compare_digest(challenge, found):
                return refusal("invalid_grant", "code_verifier does not fit")
        return None

    def _remember(self, response: flask.Response) -> flask.Response:
        if flask.request.path == "/oauth2/authorize" and response.location:
            for code in parse_qs(urlsplit(response.location).query).get("code", []):
                self._challenges[code] = flask.request.args["code_challenge"]
                if len(self._challenges) > OPEN_CODES:
                    self._challenges.popitem(last=False)
        return response


def refusal(error: str, description: str) -> flask.Response:
    response = flask.jsonify(error=error, error_description=description)
    response.status_code = 400
    return response


def add_pages(app: flask.Flask, people: list[PersonRow]) -> None:
    """This project's pages instead of the library's, which fetch their style sheet from another host."""
    own = jinja2.FileSystemLoader(FOLDER / "templates")
    app.jinja_loader = jinja2.ChoiceLoader([own, *([app.jinja_loader] if app.jinja_loader else [])])
    app.context_processor(lambda: {"people": people})

    @app.get("/livez")
    def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        return {"status": "ready"}


class FixedHost:
    """Answers as the issuer, whatever the Host header says: the library derives the issuer from it."""

    def __init__(self, app: Any, issuer: str) -> None:
        self._app = app
        self._scheme, self._host = urlsplit(issuer).scheme, urlsplit(issuer).netloc

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        environ |= {"HTTP_HOST": self._host, "wsgi.url_scheme": self._scheme}
        return self._app(environ, start_response)
