"""The words of a notice, in the citizen's language: a mail (text and HTML) and an SMS.

What the templates of `texts.yaml` may use: `your`, `Your` (the complaint, by its nature), `number` (the reference as 14
digits), `reference` (in groups), `administration` (its name alone, with no article), `at`, `relay_due`, `answer_due`
(days in words, or None), `again`, `question`, `asked`, `rejection` (`why`, `where`, `sms`), `link`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

import yaml
from babel.dates import format_date
from chikaya_contracts import reference as references
from chikaya_contracts.legal_time import CASABLANCA
from chikaya_contracts.states import states
from chikaya_contracts.submission import NoticeLanguage
from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from .notices import Facts, Notice
from .segments import fits, in_gsm_alphabet

LOCALES = {"fr": "fr", "ar": "ar_MA"}
LONGEST_PORTAL_URL = 40
"""Characters: what leaves an Arabic SMS room for its words."""
ANSWER_IS_DUE = frozenset({"receipt", "relayed", "reopened"})
"""Notices whose mail shows the day by which an answer is due; while a question is open that day moves."""

_LEFT_TO_RIGHT, _END = "\u2066", "\u2069"


@dataclass(frozen=True, slots=True)
class Name:
    """An administration's name, from the catalogue."""

    fr: str
    ar: str


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail without its addresses."""

    subject: str
    text: str
    html: str


@cache
def texts() -> dict[str, Any]:
    """`texts.yaml` as it stands."""
    return yaml.safe_load(files(__package__).joinpath("texts.yaml").read_text("utf-8"))


# Line ends are kept in sentences: an empty line parts paragraphs, after a tag too.
_SENTENCES = Environment(autoescape=select_autoescape(default_for_string=False), undefined=StrictUndefined)
_PAGES = Environment(
    loader=PackageLoader(__package__ or "", "templates"),
    autoescape=select_autoescape(("html.j2",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


@cache
def _template(*path: str) -> Template:
    text = texts()
    for part in path:
        text = text[part]
    return _SENTENCES.from_string(str(text))


class Wording:
    """Writes notices.

    Args:
        portal_url: the portal's address, at most `LONGEST_PORTAL_URL` characters.
    """

    def __init__(self, portal_url: str) -> None:
        self._portal_url = portal_url.rstrip("/")

    def link(self, reference: str) -> str:
        """The portal's page that shows a complaint, once the access code is given there."""
        return f"{self._portal_url}/follow?{urlencode({'reference': reference})}"

    def mail(self, notice: Notice, language: NoticeLanguage, name: Name | None) -> Mail:
        """A notice as a mail.

        Args:
            name: the administration's; None where none holds the case, or the catalogue has not named it yet.
        """
        words = self._words(notice, language, name, "mail")
        subject = _template("notices", notice.notice, "subject", language).render(words)
        written = _template("notices", notice.notice, "mail", language).render(words)
        direction, start = ("rtl", "right") if language == "ar" else ("ltr", "left")
        page = {
            "language": language,
            "direction": direction,
            "start": start,
            "colon": ":" if language == "ar" else "\u00a0:",
            "subject": subject,
            "paragraphs": [" ".join(part.split()) for part in written.split("\n\n") if part.strip()],
            "details": _details(notice, language, name, words),
            "frame": {key: by_language[language] for key, by_language in texts()["frame"].items()},
            "link": words["link"],
        }
        return Mail(
            subject,
            _PAGES.get_template("mail.txt.j2").render(page),
            _PAGES.get_template("mail.html.j2").render(page),
        )

    def sms(self, notice: Notice, language: NoticeLanguage, name: Name | None) -> str:
        """A notice as an SMS of at most two segments; a long administration's name gives way."""
        words = self._words(notice, language, name, "sms")
        template = _template("notices", notice.notice, "sms", language)
        called = str(words["administration"]).split()
        for kept in range(len(called), 0, -1):
            shown = " ".join(called[:kept]) + ("…" if kept < len(called) else "")
            text = template.render({**words, "administration": shown})
            if language == "fr":
                text = in_gsm_alphabet(text)
            if fits(text):
                break
        return text

    def _words(self, notice: Notice, language: NoticeLanguage, name: Name | None, form: str) -> dict[str, Any]:
        facts = notice.facts
        your = texts()["natures"][facts.nature][language]
        return {
            "your": your,
            "Your": your[0].upper() + your[1:],
            "number": notice.reference,
            "reference": _grouped(notice.reference, language),
            "administration": _called(name, language),
            "at": _day(facts.at, language),
            "relay_due": _day(facts.relay_due, language),
            "answer_due": _day(facts.answer_due, language),
            "again": facts.again,
            "question": facts.question,
            "asked": _asked(facts, language, form),
            "rejection": _rejection(facts, language),
            "link": self.link(notice.reference),
        }


def _called(name: Name | None, language: NoticeLanguage) -> str:
    if name is None:
        return str(texts()["nobody_named"][language])
    return name.ar if language == "ar" else name.fr


def _details(
    notice: Notice, language: NoticeLanguage, name: Name | None, words: Mapping[str, Any]
) -> list[tuple[str, str]]:
    frame, state = texts()["frame"], states()[notice.facts.state]
    shown = [
        ("reference", words["reference"]),
        ("state", state.ar if language == "ar" else state.fr),
        ("administration", words["administration"] if name else None),
        ("answer_due", words["answer_due"] if notice.notice in ANSWER_IS_DUE else None),
    ]
    return [(frame[key][language], value) for key, value in shown if value]


def _grouped(reference: str, language: NoticeLanguage) -> str:
    """In groups; inside Arabic, isolated, since the groups would else change places."""
    spoken = references.spoken(reference).replace(" ", "\u00a0")
    return f"{_LEFT_TO_RIGHT}{spoken}{_END}" if language == "ar" else spoken


def _day(instant: datetime | None, language: NoticeLanguage) -> str | None:
    """`27 janvier 2026`: the civil day in Morocco."""
    if instant is None:
        return None
    day = format_date(instant.astimezone(CASABLANCA), "d MMMM y", LOCALES[language])
    return "1er" + day[1:] if language == "fr" and day.startswith("1 ") else day


def _asked(facts: Facts, language: NoticeLanguage, form: str) -> str | None:
    if facts.question is None or facts.question == "administration":
        return None
    return str(texts()["questions"][facts.question][form][language])


def _rejection(facts: Facts, language: NoticeLanguage) -> dict[str, str] | None:
    if facts.rejection is None:
        return None
    return {part: by_language[language] for part, by_language in texts()["rejections"][facts.rejection].items()}
