"""The form of a complaint as a person fills it in: kept as typed, checked as intake checks it.

What every site with such a form needs: the portal, the 3737 console. No IO of its own.
"""

import re
import time
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.channel import FieldError
from chikaya_contracts.submission import Submission
from pydantic import ValidationError

from ..validation import field_error, field_errors

FIELDS = ("nature", "text", "commune", "administration", "files", "name", "email", "phone", "language", "consent")
"""The form's fields, in the order in which they are shown."""
OWN_WORDS = "words"
"""Chosen in place of a commune: none of those that were offered."""
MOST_COMMUNES = 12
"""Communes that are offered to choose from."""

_FIELD_OF = {
    "contact": "email",
    "contact.name": "name",
    "contact.email": "email",
    "contact.phone": "phone",
    "place": "commune",
    "place.commune": "commune",
    "place.text": "commune",
    "administration_wished": "administration",
    "attachments": "files",
}
_KEY = re.compile(r"[A-Za-z0-9-]{8,60}")
_CODE = re.compile(r"[0-9]{2}\.[0-9]{3}\.[0-9]{2}\.[0-9]{1,2}")
LONGEST_NAME = 80
"""Characters of a name that are looked up: routing takes no more."""


class Incomplete(ValueError):
    """The form cannot be sent as it is; `errors` holds the first one of each field, in the form's order."""

    def __init__(self, errors: Mapping[str, FieldError]) -> None:
        super().__init__(", ".join(errors))
        self.errors = dict(errors)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person has typed so far. `key` makes sending it twice harmless; `commune_code` was chosen when the field
    `commune` held `commune_for`, and counts for nothing once that has changed."""

    key: str
    nature: str = ""
    text: str = ""
    commune: str = ""
    commune_code: str = ""
    commune_for: str = ""
    administration: str = ""
    name: str = ""
    email: str = ""
    phone: str = ""
    language: str = ""
    consent: str = ""

    @classmethod
    def new(cls, language: str, **known: str) -> "Draft":
        """A form that nobody has filled in yet."""
        return cls(key=new_id(), nature="complaint", language=language, **known)

    @classmethod
    def read(cls, form: Mapping[str, Any]) -> "Draft":
        """The form as a browser sends it; one without a good key is given one."""
        typed = {field.name: form.get(field.name) for field in fields(cls)}
        # Browsers send line ends as CR LF, and count them as one character.
        kept = {name: value.replace("\r\n", "\n").strip() for name, value in typed.items() if isinstance(value, str)}
        if not _KEY.fullmatch(kept.get("key", "")):
            kept["key"] = new_id()
        return cls(**kept)

    @property
    def chosen(self) -> str:
        """The code of the commune that was chosen for what is typed now, `OWN_WORDS`, or nothing. Who knows the
        official code may type it."""
        if _CODE.fullmatch(self.commune):
            return self.commune
        return self.commune_code if self.commune and self.commune_for == self.commune else ""

    def hidden(self) -> dict[str, str]:
        """Every field, to be carried along by a page that shows none of them."""
        return asdict(self)

    def submission(self, attachments: Sequence[str] = ()) -> Submission:
        """What is sent to intake.

        Raises:
            Incomplete: something is missing or wrong.
        """
        contact = _given(name=self.name, email=self.email, phone=self.phone)
        code = "" if self.chosen == OWN_WORDS else self.chosen
        place = _given(text="" if self.commune == code else self.commune, commune=code)
        body: dict[str, Any] = _given(
            nature=self.nature,
            text=self.text,
            administration_wished=self.administration,
            language=self.language,
            place=place,
        )
        body |= {"contact": contact, "consent": self.consent == "yes", "attachments": tuple(attachments)}
        found = [] if self.email or self.phone else [field_error("contact_missing", "contact")]
        try:
            made = Submission.model_validate(body)
        except ValidationError as error:
            found += field_errors(error.errors())
        if found:
            raise Incomplete(by_field(found))
        return made


def by_field(errors: Iterable[FieldError]) -> dict[str, FieldError]:
    """The first error of each field of the form, in the form's order; what belongs to no field comes last."""
    found: dict[str, FieldError] = {}
    for error in errors:
        found.setdefault(_FIELD_OF.get(error.field, error.field), error)
    order = {name: place for place, name in enumerate(FIELDS)}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(FIELDS))))


def told(errors: Mapping[str, FieldError], texts: Mapping[str, Mapping[str, str]], language: str) -> dict[str, str]:
    """What is wrong with each field, in one language: in the page's own words where it has a text
    `error.<field>.<code>`, else as intake says it."""
    found = {}
    for field, error in errors.items():
        own = texts.get("error." + f"{field}.{error.code}")
        found[field] = own[language] if own else str(getattr(error, f"message_{language}"))
    return found


def in_order(errors: Mapping[str, str]) -> dict[str, str]:
    """Errors in the order of the form's fields, for the summary above it."""
    return {name: errors[name] for name in dict.fromkeys((*FIELDS, *errors)) if name in errors}


class Administration(Protocol):
    """An administration as routing lists it."""

    @property
    def slug(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def name_fr(self) -> str: ...
    @property
    def name_ar(self) -> str: ...


def choices(rows: Iterable[Administration], language: str) -> list[tuple[str, str]]:
    """Slugs and names to choose from, by name; without communes: for those the place says it."""
    named = ((row.slug, str(getattr(row, f"name_{language}"))) for row in rows if row.kind != "commune")
    return sorted(named, key=lambda row: row[1])


class Commune(Protocol):
    """A commune as routing lists it."""

    @property
    def code(self) -> str: ...
    @property
    def name_fr(self) -> str: ...
    @property
    def name_ar(self) -> str: ...


C = TypeVar("C", bound=Commune)


@dataclass(frozen=True, slots=True)
class Located(Generic[C]):
    """Where the matter is: `found` one `commune`, `several` to choose from, only in the person's own `words`, `unknown`
    to the list, `away` when the list could not be read, or `empty`. `draft` has the choice in it."""

    draft: Draft
    outcome: Literal["found", "several", "words", "unknown", "away", "empty"]
    commune: C | None = None
    candidates: tuple[C, ...] = ()


async def locate(draft: Draft, search: Callable[[str], Awaitable[Sequence[C]]], away: type[Exception]) -> Located[C]:
    """The commune that is meant by what was typed.

    Args:
        search: communes whose name fits what is typed.
        away: what `search` raises when it cannot be asked; a complaint is never held up by that.
    """
    typed = draft.commune
    if not typed:
        return Located(replace(draft, commune_code="", commune_for=""), "empty")
    if draft.chosen == OWN_WORDS:
        return Located(draft, "words")
    # "Salé, Tabriquet": the first part is asked for when the whole is no name.
    if _CODE.fullmatch(typed):
        return Located(replace(draft, commune_code="", commune_for=""), "words")
    asked = list(dict.fromkeys(part for part in (typed, re.split(r"[,،;(/]", typed)[0].strip()) if part))
    found: Sequence[C] = ()
    try:
        for part in asked:
            if found := await search(part[:LONGEST_NAME]):
                break
    except away:
        return Located(draft, "away")
    exact = [
        one for one in found if any(same_name(part, one.name_fr) or same_name(part, one.name_ar) for part in asked)
    ]
    meant = [commune for commune in found if commune.code == draft.chosen] or (exact if len(exact) == 1 else [])
    if meant:
        return Located(replace(draft, commune_code=meant[0].code, commune_for=typed), "found", meant[0])
    draft = replace(draft, commune_code="", commune_for=typed)
    if not found:
        return Located(draft, "unknown")
    return Located(draft, "several", candidates=tuple((exact or found)[:MOST_COMMUNES]))


def same_name(one: str, other: str) -> bool:
    """Whether two names of places differ only in accents, case, hyphens or spaces."""
    return bool(one) and _letters(one) == _letters(other)


def _letters(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", name).casefold() if c.isalnum())


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


T = TypeVar("T")


class Remembered(Generic[T]):
    """What another service gave, asked for again when it is older than `for_s`; while that service is away, what it
    gave last.

    Args:
        away: what `load` raises when the service is away.
        at_first: given until the service has answered once.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[T]],
        away: type[Exception],
        at_first: T,
        for_s: float = 300.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load, self._away, self._kept, self._for_s, self._now = load, away, at_first, for_s, now
        self._asked_at: float | None = None

    async def get(self) -> T:
        """The last known."""
        now = self._now()
        if self._asked_at is None or now - self._asked_at >= self._for_s:
            try:
                self._kept = await self._load()
                self._asked_at = now
            except self._away:
                # Asked again in a little while, not by each reader in turn.
                self._asked_at = now - self._for_s + min(5.0, self._for_s)
        return self._kept
