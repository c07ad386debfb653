"""Server-rendered pages: French and Arabic, usable without JavaScript, one layout for portal, desk, triage and 3737.

A package that shows pages has `templates/` and `texts.yaml` (key: {fr: …, ar: …}); its templates extend `layout.html`.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from babel.dates import format_date, format_datetime
from chikaya_contracts.legal_time import CASABLANCA
from fastapi import FastAPI, Request
from fastapi.exceptions import WebSocketRequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response

from ..http import Problem

HERE = Path(__file__).parent
LANGUAGES = ("fr", "ar")
LOCALES = {"fr": "fr", "ar": "ar_MA"}
COOKIE = "chikaya-lang"
YEAR_S = 365 * 24 * 3600


class Pages:
    """The pages of one package.

    Args:
        package: its name; `templates/` and `texts.yaml` lie in it.
    """

    def __init__(self, package: str) -> None:
        self._home = Path(str(import_module(package).__file__)).parent
        self._templates = Environment(
            loader=ChoiceLoader([FileSystemLoader(self._home / "templates"), FileSystemLoader(HERE / "templates")]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    @cached_property
    def texts(self) -> dict[str, dict[str, str]]:
        """Every text by key and language: the shared ones, then the package's own."""
        found: dict[str, dict[str, str]] = {}
        for file in (HERE / "texts.yaml", self._home / "texts.yaml"):
            found |= yaml.safe_load(file.read_text("utf-8")) or {}
        return found

    def language(self, request: Request) -> str:
        """`?lang=`, else the cookie, else what the browser asks for, else French."""
        header = request.headers.get("accept-language", "").lower()
        asked = re.findall(r"\b(ar|fr)\b", header)
        for found in (request.query_params.get("lang"), request.cookies.get(COOKIE), *asked[:1]):
            if found in LANGUAGES:
                return str(found)
        return "fr"

    def text(self, language: str, key: str, **words: Any) -> str:
        """A text in a language, its `{words}` filled in.

        Raises:
            KeyError: no such text.
        """
        return self.texts[key][language].format(**words)

    def render(
        self,
        request: Request,
        template: str,
        context: Mapping[str, Any] | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> HTMLResponse:
        """A page in the reader's language. Templates have `t(key)`, `lang`, `dir`, `other`, `day(d)`, `moment(d)`."""
        lang = self.language(request)
        other = "ar" if lang == "fr" else "fr"

        def t(key: str, **words: Any) -> str:
            return self.text(lang, key, **words)

        def named(row: Any, field: str = "name") -> str:
            value = row[f"{field}_{lang}"] if isinstance(row, Mapping) else getattr(row, f"{field}_{lang}")
            return str(value)

        html = self._templates.get_template(template).render(
            {
                "request": request,
                "t": t,
                "lang": lang,
                "dir": "rtl" if lang == "ar" else "ltr",
                "other": other,
                "other_url": str(request.url.include_query_params(lang=other).replace(scheme="", netloc=""))
                if request.method == "GET"
                else f"/?lang={other}",
                "named": named,
                "day": lambda when: format_date(when.astimezone(CASABLANCA), "long", LOCALES[lang]),
                "moment": lambda when: format_datetime(when, "d MMMM y HH:mm", CASABLANCA, LOCALES[lang]),
                "grouped": grouped,
                "person": None,
                **(context or {}),
            }
        )
        response = HTMLResponse(html, status, {"Cache-Control": "no-store", **(headers or {})})
        if request.query_params.get("lang") == lang:
            response.set_cookie(COOKIE, lang, YEAR_S, httponly=True, samesite="lax")
        return response

    def install(self, app: FastAPI) -> None:
        """Serves the style sheet, and shows problems as pages to browsers."""
        app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
        handlers = dict(app.exception_handlers)

        def shown(kind: type[Exception]) -> None:
            as_json = handlers[kind]

            async def handle(request: Request, error: Exception) -> Response:
                response: Response = await as_json(request, error)
                is_problem = response.headers.get("content-type") == "application/problem+json"
                if not is_problem or "text/html" not in request.headers.get("accept", ""):
                    return response
                title = error.title if isinstance(error, Problem) else ""
                detail = error.detail if isinstance(error, Problem) else ""
                known = f"problem.{response.status_code}"
                context = {"heading": known if known in self.texts else "problem.500", "title": title, "detail": detail}
                headers = {name: response.headers[name] for name in ("retry-after",) if name in response.headers}
                return self.render(request, "problem.html", context, response.status_code, headers)

            app.add_exception_handler(kind, handle)

        for kind in handlers:
            if isinstance(kind, type) and kind is not WebSocketRequestValidationError:
                shown(kind)

    def orphans(self) -> dict[str, set[str]]:
        """Texts that are untranslated, unknown or unused, for a test that wants none. A key that a template builds
        (`t('state.' ~ name)`) uses all that begin like it."""
        sources = "".join(
            file.read_text("utf-8")
            for home in (self._home, HERE)
            for pattern in ("**/*.html", "**/*.py")
            for file in home.glob(pattern)
        )
        used = set(re.findall(r"\bt\(\s*['\"]([\w.-]+)['\"]\s*[,)]", sources))
        used |= set(re.findall(r"\.text\(\s*\w+,\s*['\"]([\w.-]+)['\"]", sources))
        begun = tuple(set(re.findall(r"['\"]([\w-]+\.)['\"]\s*[~+]", sources)) | {"problem."})
        quoted = set(re.findall(r"['\"]([\w.-]+)['\"]", sources))
        own = yaml.safe_load((self._home / "texts.yaml").read_text("utf-8")) or {}
        return {
            "unknown": {key for key in used if key not in self.texts},
            "unused": {key for key in own if key not in quoted and not key.startswith(begun)},
            "untranslated": {
                key for key, row in self.texts.items() if set(row) != set(LANGUAGES) or not all(row.values())
            },
        }


def grouped(reference: str) -> Markup:
    """A reference in groups, read left to right in Arabic too."""
    parts = " ".join(reference[i : i + 4] for i in range(0, len(reference), 4))
    return Markup('<bdi dir="ltr" class="reference">{}</bdi>').format(parts)
