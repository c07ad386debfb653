"""Staff sign-in, for every process with staff pages or APIs: OpenID Connect, roles, and nobody let in by default.

    staff = Staff(settings)
    app.include_router(staff.router)  # /login, /login/callback, /logout

    @app.get("/triage")
    async def queue(person: Annotated[Person, Depends(staff.require("triage", "coordinator"))]) -> Response: ...

A browser signs in with the authorization code, a proof key and a nonce, and then holds a signed cookie; a program sends
`Authorization: Bearer`, which the provider's userinfo endpoint confirms (standard: Keycloak and the local provider
alike). A session lives as long as its access token, 8 hours at most, so that the token can be passed on to another
service's API until the session ends: give these clients a token life of a working day. A role that is taken away ends
within 30 s for tokens, and with the session for browsers.
"""

import asyncio
import hashlib
import re
import time
import warnings
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import httpx
import structlog
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from itsdangerous import BadSignature, URLSafeSerializer
from jinja2 import Environment, FileSystemLoader
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings
from starlette.responses import Response

from .http import Problem
from .settings import FROM_ENVIRONMENT

with warnings.catch_warnings():
    # authlib announces that it will move to httpx2; until then it works with the httpx that everything here uses.
    # Its first import makes its own warnings always shown: the filter comes after it.
    import authlib.deprecate

    warnings.simplefilter("ignore", authlib.deprecate.AuthlibDeprecationWarning)
    from authlib.integrations.starlette_client import OAuth, OAuthError

log = structlog.get_logger()

ROLES = frozenset({"triage", "agent", "officer", "supervisor", "coordinator", "operator"})

SESSION_S = 8 * 3600
SIGN_IN_S = 600
TOKEN_CACHED_S = 30
TOKENS_CACHED = 10_000
COOKIE_BYTES = 3_900
PROVIDER_TIMEOUT_S = 5.0
RETRY_AFTER_S = 5
NEXT_CHARACTERS = 1_000

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# RFC 6750, 2.1: what a bearer token can look like.
BEARER_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]{1,8000}=*")

pages = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
bearer = HTTPBearer(auto_error=False, description="An access token of the OpenID provider.")


class StaffSettings(BaseSettings):
    """Mixed in where a process has staff pages or staff APIs."""

    model_config = FROM_ENVIRONMENT

    oidc_issuer: str = Field("http://127.0.0.1:8027", description="The OpenID provider, as its tokens name it.")
    oidc_client_id: str = Field(description="This process's client at the provider.")
    oidc_client_secret: SecretStr = Field(description="That client's secret.")
    session_secret: SecretStr = Field(min_length=32, description="Signs the cookies; the same for all instances.")
    public_url: str = Field(description="Where browsers reach this process: scheme, host and port.")


@dataclass(frozen=True)
class Person:
    """Who is signed in. `administration` is the slug that an officer or supervisor works for."""

    sub: str
    name: str
    email: str
    roles: tuple[str, ...]
    administration: str | None
    access_token: str = field(repr=False)


class SignInNeeded(Problem):
    """401 for a program; a browser is sent to sign in, and comes back where it was."""

    def __init__(self, sign_in_url: str, browser: bool, invalid: bool = False) -> None:
        headers = {"WWW-Authenticate": 'Bearer error="invalid_token"' if invalid else "Bearer"}
        # htmx follows this one from inside a page, where a redirect would put the sign-in page into a fragment.
        headers["HX-Redirect"] = sign_in_url
        super().__init__(401, "Connexion nécessaire · يلزم تسجيل الدخول", headers=headers)
        self._sign_in_url, self._browser = sign_in_url, browser

    def response(self) -> Response:
        return RedirectResponse(self._sign_in_url, 303) if self._browser else super().response()


class RoleMissing(Problem):
    """403: signed in, but not as somebody who may."""

    def __init__(self, roles: tuple[str, ...], browser: bool) -> None:
        super().__init__(
            403, "Accès refusé · الولوج مرفوض", f"Il faut l'un de ces rôles · يلزم أحد هذه الأدوار: {', '.join(roles)}"
        )
        self._browser = browser

    def response(self) -> Response:
        return staff_page("refused", 403) if self._browser else super().response()


class ProviderAway(Problem):
    """503: nobody is let in on trust while the provider cannot be asked."""

    def __init__(self, browser: bool = False) -> None:
        super().__init__(
            503,
            "Connexion momentanément indisponible · تسجيل الدخول غير متاح حاليا",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )
        self._browser = browser

    def response(self) -> Response:
        if not self._browser:
            return super().response()
        return staff_page("away", 503, headers={"Retry-After": str(RETRY_AFTER_S)})


class Staff:
    """Sign-in of one process.

    Args:
        now: seconds since the epoch; ends sessions.
    """

    def __init__(self, settings: StaffSettings, now: Callable[[], float] = time.time) -> None:
        self._public_url = settings.public_url.rstrip("/")
        self._origin = _origin(self._public_url)
        self._now = now
        self._cookies = _Cookies(settings, secure=self._origin.startswith("https:"), now=now)
        self._provider = _Provider(settings, now)
        self.router = APIRouter(include_in_schema=False, lifespan=self._lifespan)
        self.router.add_api_route("/login", self._login, methods=["GET"], response_model=None)
        self.router.add_api_route("/login/callback", self._callback, methods=["GET"], response_model=None)
        self.router.add_api_route("/logout", self._logout_page, methods=["GET"], response_model=None)
        self.router.add_api_route("/logout", self._logout, methods=["POST"], response_model=None)

    def require(self, *roles: str) -> Callable[..., Awaitable[Person]]:
        """A dependency that lets in who has one of `roles`, and gives the `Person`.

        Raises:
            ValueError: no role, or one that does not exist, is named.
        """
        if not roles or not ROLES.issuperset(roles):
            raise ValueError(f"name at least one of {sorted(ROLES)}, not {roles}")

        async def allowed(
            request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
        ) -> Person:
            person = await self._who(request, credentials)
            if ROLES.intersection(roles).isdisjoint(person.roles):
                raise RoleMissing(roles, _is_browser(request))
            return person

        return allowed

    async def _who(self, request: Request, credentials: HTTPAuthorizationCredentials | None) -> Person:
        """By the token when one is sent, else by the cookie.

        Raises:
            SignInNeeded: neither names anybody.
            ProviderAway: the token could not be checked.
            Problem: 403, another site made the browser send this.
        """
        if "authorization" in request.headers:
            person = await self._provider.person(credentials.credentials) if credentials else None
            if person is None:
                raise SignInNeeded(self._sign_in_url(request), browser=False, invalid=True)
            return person
        person = self._cookies.person(request)
        if person is None:
            raise SignInNeeded(self._sign_in_url(request), _is_browser(request))
        self._refuse_other_sites(request)
        return person

    def _refuse_other_sites(self, request: Request) -> None:
        if request.method in SAFE_METHODS:
            return
        sent_by = request.headers.get("origin") or _origin(request.headers.get("referer", ""))
        if sent_by != self._origin:
            raise Problem(403, "Requête d'un autre site · طلب من موقع آخر", "Origin or Referer is not this site's.")

    def _sign_in_url(self, request: Request) -> str:
        """Back to this page after a GET, to the page with the form after a POST, to the first page otherwise."""
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if request.method not in SAFE_METHODS or "hx-request" in request.headers:
            shown = request.headers.get("hx-current-url") or request.headers.get("referer", "")
            parts = urlsplit(shown)
            same = _origin(shown) == self._origin
            back = (parts.path + (f"?{parts.query}" if parts.query else "")) if same else "/"
        return f"/login?{urlencode({'next': back})}"

    async def _login(self, request: Request, next: str = "/") -> Response:
        here = request.url.hostname or ""
        public = urlsplit(self._public_url)
        if here != public.hostname and {here, public.hostname} <= LOOPBACK:
            # localhost and 127.0.0.1 are two sites to a browser, and the provider sends back to one of them.
            return RedirectResponse(f"{self._public_url}/login?{urlencode({'next': next})}", 303)
        # authlib keeps state, nonce and proof key in a session; this one lives for one sign-in, in a cookie of its own.
        request.scope["session"] = session = {"next": safe_path(next)}
        try:
            response = await self._provider.send_to_sign_in(request, f"{self._public_url}/login/callback")
        except ProviderAway:
            return ProviderAway(browser=True).response()
        self._cookies.keep_sign_in(response, session)
        return response

    async def _callback(self, request: Request) -> Response:
        request.scope["session"] = session = self._cookies.sign_in(request)
        if session is None:
            # A second visit (the Back button) of somebody who is in already is no error.
            if self._cookies.person(request):
                return RedirectResponse("/", 303)
            return staff_page("failed", 400)
        try:
            person, life_s = await self._provider.sign_in(request)
        except OAuthError as error:
            log.warning("sign-in refused", error=error.error)
            return staff_page("failed", 400)
        except ProviderAway:
            return ProviderAway(browser=True).response()
        response = RedirectResponse(safe_path(session.get("next", "/")), 303)
        self._cookies.keep_person(response, person, min(life_s, SESSION_S))
        return response

    async def _logout_page(self, request: Request) -> Response:
        return staff_page("sign_out" if self._cookies.person(request) else "signed_out", 200)

    async def _logout(self, request: Request) -> Response:
        if self._cookies.person(request):
            self._refuse_other_sites(request)
        response = RedirectResponse(await self._provider.sign_out_url(f"{self._public_url}/"), 303)
        self._cookies.forget(response)
        return response

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._provider.close()


class _Cookies:
    """Two signed cookies: one for the minutes of a sign-in, one for the session.

    Named after the client: cookies ignore ports, so that all processes of one machine share a jar.
    """

    def __init__(self, settings: StaffSettings, secure: bool, now: Callable[[], float]) -> None:
        prefix = "__Host-" if secure else ""
        self._session = f"{prefix}chikaya-{settings.oidc_client_id}"
        self._sign_in = f"{self._session}-login"
        self._secure, self._now = secure, now
        self._signers = {
            name: URLSafeSerializer(
                settings.session_secret.get_secret_value(), salt=name, signer_kwargs={"digest_method": hashlib.sha256}
            )
            for name in (self._session, self._sign_in)
        }

    def person(self, request: Request) -> Person | None:
        kept = self._read(request, self._session)
        try:
            return Person(**kept | {"roles": tuple(kept["roles"])}) if kept else None
        except (TypeError, KeyError):
            # Signed by another version of this module.
            return None

    def keep_person(self, response: Response, person: Person, life_s: float) -> None:
        """Raises:
        Problem: 500, the provider's token is too long for a cookie.
        """
        self._write(response, self._session, person.__dict__, life_s)
        self._delete(response, self._sign_in)

    def sign_in(self, request: Request) -> dict[str, Any] | None:
        return self._read(request, self._sign_in)

    def keep_sign_in(self, response: Response, session: Mapping[str, Any]) -> None:
        self._write(response, self._sign_in, session, SIGN_IN_S)

    def forget(self, response: Response) -> None:
        self._delete(response, self._session)
        self._delete(response, self._sign_in)

    def _read(self, request: Request, name: str) -> dict[str, Any] | None:
        try:
            ends_at, kept = self._signers[name].loads(request.cookies.get(name, ""))
        except BadSignature:
            return None
        return kept if ends_at > self._now() else None

    def _write(self, response: Response, name: str, kept: Mapping[str, Any], life_s: float) -> None:
        value = self._signers[name].dumps([self._now() + life_s, kept])
        if len(value) > COOKIE_BYTES:
            log.error("session too large for a cookie: shorten the provider's access tokens", bytes=len(value))
            raise Problem(500, "Session trop grande · حجم الجلسة كبير جدا")
        response.set_cookie(name, str(value), int(life_s), path="/", secure=self._secure, httponly=True, samesite="lax")

    def _delete(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self._secure, httponly=True, samesite="lax")


class _Provider:
    """What is asked of the OpenID provider. Every failure to reach it is `ProviderAway`."""

    def __init__(self, settings: StaffSettings, now: Callable[[], float]) -> None:
        self._now = now
        self._issuer = settings.oidc_issuer.rstrip("/")
        self._client_id = settings.oidc_client_id
        self._oauth = OAuth().register(
            "staff",
            client_id=settings.oidc_client_id,
            client_secret=settings.oidc_client_secret.get_secret_value(),
            server_metadata_url=f"{self._issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid profile email",
                "code_challenge_method": "S256",
                "timeout": PROVIDER_TIMEOUT_S,
            },
        )
        self._http: httpx.AsyncClient | None = None
        self._known: OrderedDict[bytes, tuple[float, Person]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Person | None]] = {}

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def send_to_sign_in(self, request: Request, callback: str) -> Response:
        await self._metadata()
        response: Response = await self._oauth.authorize_redirect(request, callback)
        return response

    async def sign_in(self, request: Request) -> tuple[Person, float]:
        """Who has come back from the provider, and for how many seconds their token is good.

        Raises:
            OAuthError: the provider refused, or what came back is not the answer to what was asked.
        """
        await self._metadata()
        try:
            token = await self._oauth.authorize_access_token(request)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        except (OAuthError, ProviderAway):
            raise
        except Exception as error:
            # The id token's own errors (signature, issuer, audience, nonce, time) have no common ancestor.
            log.warning("id token refused", error=type(error).__name__)
            raise OAuthError("invalid_token") from error
        person = await self._ask(str(token["access_token"]))
        if person is None or "userinfo" not in token or token["userinfo"]["sub"] != person.sub:
            raise OAuthError("invalid_token")
        return person, float(token.get("expires_in", SESSION_S))

    async def person(self, token: str) -> Person | None:
        """Whose token this is; None when the provider says nobody's. Asked at most once in 30 s for each token."""
        if not BEARER_TOKEN.fullmatch(token):
            return None
        key = hashlib.sha256(token.encode()).digest()
        good_until, person = self._known.get(key, (0.0, None))
        if person is not None and good_until > self._now():
            return person
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(token))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # Several requests wait for one answer: one that leaves must not take it from the others.
        person = await asyncio.shield(task)
        if person is None:
            self._known.pop(key, None)
            return None
        self._known[key] = (self._now() + TOKEN_CACHED_S, person)
        self._known.move_to_end(key)
        while len(self._known) > TOKENS_CACHED:
            self._known.popitem(last=False)
        return person

    async def sign_out_url(self, back: str) -> str:
        """The provider's own sign-out (OpenID Connect RP-Initiated Logout 1.0), where it has one."""
        try:
            endpoint = (await self._metadata()).get("end_session_endpoint")
        except ProviderAway:
            endpoint = None
        if not endpoint:
            return "/logout"
        return f"{endpoint}?{urlencode({'client_id': self._client_id, 'post_logout_redirect_uri': back})}"

    async def _metadata(self) -> Mapping[str, Any]:
        try:
            metadata: Mapping[str, Any] = await self._oauth.load_server_metadata()
        except (httpx.HTTPError, ValueError) as error:
            raise self._away(error) from error
        # OpenID Connect Discovery 1.0, 4.3: both must be the same, to the letter.
        if str(metadata.get("issuer", "")).rstrip("/") != self._issuer:
            log.error("the OpenID provider names another issuer", wanted=self._issuer, found=metadata.get("issuer"))
            raise ProviderAway
        return metadata

    async def _ask(self, token: str) -> Person | None:
        endpoint = (await self._metadata())["userinfo_endpoint"]
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=PROVIDER_TIMEOUT_S)
        try:
            answer = await self._http.get(endpoint, headers={"Authorization": f"Bearer {token}"})
            if answer.status_code in (400, 401, 403):
                return None
            answer.raise_for_status()
            return _person(answer.json(), token)
        except (httpx.HTTPError, ValueError) as error:
            raise self._away(error) from error

    def _away(self, error: Exception) -> ProviderAway:
        log.warning("OpenID provider away", error=type(error).__name__)
        return ProviderAway()


def safe_path(wanted: object) -> str:
    """`wanted` when it is a path on this site, else "/": a link to sign-in must not lead to another site."""
    if not isinstance(wanted, str) or not wanted.startswith("/") or len(wanted) > NEXT_CHARACTERS:
        return "/"
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return "/"
    # Browsers read a backslash as a slash, and skip control characters.
    odd = "\\" in wanted or any(ord(character) < 33 or ord(character) == 127 for character in wanted)
    if odd or wanted.startswith("//") or parts.scheme or parts.netloc or parts.path in ("/login", "/logout"):
        return "/"
    return wanted


def staff_page(kind: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """One of the pages of sign-in, in Arabic and French."""
    html = pages.get_template("staff.html").render(kind=kind)
    return HTMLResponse(html, status, {"Cache-Control": "no-store", **(headers or {})})


def _person(claims: Mapping[str, Any], token: str) -> Person:
    """Raises:
    ValueError: the claims name nobody.
    """
    sub, roles, administration = claims.get("sub"), claims.get("roles"), claims.get("administration")
    if not isinstance(sub, str) or not sub:
        raise ValueError("no sub")
    return Person(
        sub=sub,
        name=str(claims.get("name") or sub),
        email=str(claims.get("email") or ""),
        roles=tuple(role for role in roles if role in ROLES) if isinstance(roles, list) else (),
        administration=administration if isinstance(administration, str) and administration else None,
        access_token=token,
    )


def _origin(address: str) -> str:
    """Scheme, host and port as a browser's Origin header writes them; empty for what has none."""
    try:
        parts = urlsplit(address)
        number = parts.port
    except ValueError:
        return ""
    if not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if number in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{number}"
    return f"{parts.scheme}://{host}{port}"


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and "hx-request" not in request.headers
