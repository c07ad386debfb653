"""What an agent reads to the caller, sentence by sentence, in the caller's language."""

from dataclasses import dataclass
from datetime import datetime

from babel.dates import format_date
from chikaya_contracts import reference
from chikaya_contracts.legal_time import CASABLANCA
from chikaya_contracts.states import states
from chikaya_sdk import Case
from chikaya_servicekit.pages import LANGUAGES, LOCALES, Pages

SPELLED = {
    "A": "Anatole", "B": "Berthe", "C": "Célestin", "D": "Désiré", "E": "Eugène", "F": "François", "G": "Gaston",
    "H": "Henri", "J": "Joseph", "K": "Kléber", "M": "Marcel", "N": "Nicolas", "P": "Pierre", "Q": "Quintal",
    "R": "Raoul", "S": "Suzanne", "T": "Thérèse", "V": "Victor", "W": "William", "X": "Xavier", "Y": "Yvonne",
    "Z": "Zoé",
}  # fmt: skip
"""The words by which letters are told apart on the telephone in French, which Moroccan agents use for Latin letters."""
NATURES = ("complaint", "observation", "suggestion")


@dataclass(frozen=True, slots=True)
class Script:
    """Sentences in one language."""

    language: str
    lines: tuple[str, ...]

    @property
    def direction(self) -> str:
        """As HTML's `dir`."""
        return "rtl" if self.language == "ar" else "ltr"


def letters(code: str) -> list[tuple[str, str]]:
    """An access code character by character, each with the word that tells it apart; digits need none."""
    return [(character, SPELLED.get(character, "")) for character in code if character.isalnum()]


class Aloud:
    """Writes the scripts, the caller's language first, the other after it.

    Args:
        pages: where the sentences are.
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def receipt(self, name: str, code: str, relay: datetime, answer: datetime, first: str) -> list[Script]:
        """After filing: reference, code, deadlines."""
        return [self._receipt(language, name, code, relay, answer) for language in _ordered(first)]

    def case(self, case: Case) -> list[Script]:
        """The state of a case, what is expected of whom, and the answer."""
        return [self._case(language, case) for language in _ordered(case.language)]

    def _receipt(self, language: str, name: str, code: str, relay: datetime, answer: datetime) -> Script:
        return Script(
            language,
            (
                self._say(language, "aloud.filed"),
                self._say(language, "aloud.reference", reference=_left_to_right(reference.spoken(name))),
                self._say(language, "aloud.code", code=_left_to_right(_spaced(code))),
                self._say(language, "aloud.keep"),
                self._say(language, "aloud.relay", day=_day(language, relay)),
                self._say(language, "aloud.answer_due", day=_day(language, answer)),
                self._say(language, "aloud.told"),
            ),
        )

    def _case(self, language: str, case: Case) -> Script:
        known = states().get(case.state)
        lines = [
            self._say(
                language,
                "aloud.case",
                reference=_left_to_right(reference.spoken(case.reference)),
                received=_day(language, case.received_at),
                state=getattr(case.state_name, language),
            ),
            str(getattr(case.told, language)),
        ]
        if case.administration:
            lines.append(self._say(language, "aloud.holder", name=getattr(case.administration, f"name_{language}")))
        if known and known.open and case.deadlines.paused:
            lines.append(self._say(language, "aloud.paused"))
        elif known and known.open:
            lines.append(self._say(language, "aloud.answer_due", day=_day(language, case.deadlines.answer)))
        if case.question:
            lines.append(self._say(language, "aloud.question", text=self._question(language, case)))
        if case.rejection:
            why = ("rejection." + case.rejection, "instead." + case.rejection)
            lines += [self._pages.texts[key][language] for key in why if key in self._pages.texts]
        if case.answer:
            lines.append(self._say(language, "aloud.answer", text=_isolated(case.answer)))
        return Script(language, tuple(lines))

    def _question(self, language: str, case: Case) -> str:
        if case.question is None or case.question.text:
            return _isolated(case.question.text or "" if case.question else "")
        key = "question." + (case.question.question or "request")
        return self._pages.texts.get(key, self._pages.texts["question.request"])[language]

    def _say(self, language: str, key: str, **words: str) -> str:
        return self._pages.text(language, key, **words)


def _ordered(first: str) -> list[str]:
    return sorted(LANGUAGES, key=lambda language: language != first)


def _day(language: str, when: datetime) -> str:
    return format_date(when.astimezone(CASABLANCA), "full", LOCALES[language])


def _spaced(code: str) -> str:
    return " – ".join(" ".join(group) for group in code.split("-"))


def _left_to_right(text: str) -> str:
    """Marked so that it keeps its order inside Arabic, and stays on one line."""
    return f"\u2066{text}\u2069".replace(" ", "\u00a0")


def _isolated(text: str) -> str:
    """Somebody's words, line by line, in whatever direction they are written."""
    return "\n".join(f"\u2068{line}\u2069" for line in text.splitlines())
