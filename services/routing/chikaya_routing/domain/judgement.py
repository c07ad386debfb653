"""What becomes of a submission: sent to an administration, held for a person, or found inadmissible, and why.

Pure: a model's reading, a place and what the citizen declared in, one judgement out. The content decides. A wrong
rejection is worse than a wrong address, and both are worse than a person's look, so that whatever is not sure enough
goes to triage with the three likeliest outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from chikaya_routing.domain.classifier import Model, Reading
from chikaya_routing.domain.language import LanguageGuess, identify
from chikaya_routing.domain.places import Gazetteer, Place

Outcome = Literal["routed", "triage", "inadmissible"]
TriageReason = Literal["unsure", "place-missing", "not-understood", "ambiguous"]
InadmissibleReason = Literal["court", "private", "defence", "police-report", "foreign"]
Nature = Literal["complaint", "observation", "suggestion", "information-request"]

LOCAL = "local"
MODEL_STAGE = "model"
SHORTEST_LETTERS = 8
"""Fewer letters than this say nothing that could be relayed."""

FEWEST_WORDS = 4
"""Fewer words than this are never acted on by the machine alone: an insult can be made of two nouns."""

FOREIGN_CONFIDENCE = 0.6
NATURE_CONFIDENCE = 0.8
"""From here on the text's nature is believed over what was declared; what was declared is usually right."""

SHOWN_ALTERNATIVES = 3
WISH_FACTOR = 1.5
"""How much likelier the administration that the citizen wished is held to be, in the order of alternatives only."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What is judged. `place` is an HCP code or what the citizen typed; `wished` a slug; each may be empty."""

    text: str
    place: str = ""
    wished: str = ""
    nature: Nature = "complaint"


@dataclass(frozen=True, slots=True)
class Alternative:
    """One outcome and its probability.

    `target` is the slug of an administration, `commune-<code>`, `triage:<reason>` or `inadmissible:<reason>`.
    """

    target: str
    probability: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """One outcome, with all that explains it.

    Exactly one of `administration` (routed) and `reason` (triage, inadmissible) is set. `alternatives` are the three
    likeliest outcomes, likeliest first; `probability` is that of the first. `words` are the citizen's own words that
    weighed most for the model's first label, each with its share: they can be personal and stay in routing's store.
    """

    outcome: Outcome
    administration: str | None
    reason: TriageReason | InadmissibleReason | None
    probability: float
    alternatives: tuple[Alternative, ...]
    language: LanguageGuess
    nature: Nature
    nature_probability: float
    place: Place
    words: tuple[tuple[str, float], ...]
    model_version: str
    stage: str = MODEL_STAGE


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one submission before it is decided.

    `targets` has a probability for every label; `confidence` is how often a first label as sure as here is right.
    """

    targets: Mapping[str, float]
    confidence: float
    language: LanguageGuess
    place: Place
    letters: int
    words: int
    known: bool
    """Whether the model has met any of the words before."""


def decide(evidence: Evidence, thresholds: Mapping[str, float]) -> tuple[Outcome, str]:
    """The outcome, and what it is about: a slug if routed, else the reason.

    `thresholds` holds the confidence from which the machine may decide alone: for an `administration`, a `local`
    matter, and what is `inadmissible`.
    """
    if not _readable(evidence):
        return "triage", "not-understood"
    label = max(evidence.targets, key=lambda name: evidence.targets[name])
    kind, _, reason = label.partition(":")
    if kind == "triage":
        return "triage", reason
    if label == LOCAL and evidence.place.certainty != "commune":
        # Whichever commune it is, it cannot be known: asking for the place is what helps the citizen most.
        return "triage", "place-missing"
    if evidence.words < FEWEST_WORDS:
        return "triage", "unsure"
    if kind == "inadmissible":
        return ("inadmissible", reason) if evidence.confidence >= thresholds["inadmissible"] else ("triage", "unsure")
    if evidence.confidence < thresholds[LOCAL if label == LOCAL else "administration"]:
        return "triage", "unsure"
    return "routed", _slug(label, evidence.place)


def _readable(evidence: Evidence) -> bool:
    """Whether there is text enough, in a language that is read here."""
    if evidence.letters < SHORTEST_LETTERS:
        return False
    if evidence.language.language == "other" and evidence.language.confidence >= FOREIGN_CONFIDENCE:
        return False
    return evidence.known


def _slug(label: str, place: Place) -> str:
    """The target that a label stands for, given the place."""
    if label != LOCAL:
        return label
    return place.commune.slug if place.commune else "triage:place-missing"


def alternatives(evidence: Evidence, wished: str = "", most: int = SHOWN_ALTERNATIVES) -> tuple[Alternative, ...]:
    """The likeliest outcomes. The administration wished moves up where it is about as likely as another.

    The model's first label has the confidence as its probability; the others share what that leaves.
    """
    favoured = {label: p * (WISH_FACTOR if label == wished else 1.0) for label, p in evidence.targets.items()}
    ranked = sorted(favoured, key=lambda label: (-favoured[label], label))[:most]
    first = max(evidence.targets, key=lambda label: evidence.targets[label])
    left = max(1 - evidence.targets[first], 1e-9)
    shown = {
        label: min(evidence.confidence, (1 - evidence.confidence) * evidence.targets[label] / left) for label in ranked
    } | {first: evidence.confidence}
    return tuple(Alternative(_slug(label, evidence.place), round(shown[label], 4)) for label in ranked)


@dataclass(slots=True)
class Classifier:
    """A loaded model and the gazetteer. Safe to share between threads that only judge."""

    model: Model
    gazetteer: Gazetteer = field(default_factory=Gazetteer)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """The model's own thresholds hold where this names none: a coordinator may be stricter."""

    @classmethod
    def load(cls, path: Path, gazetteer: Gazetteer | None = None) -> Classifier:
        """Reads a trained artefact.

        Raises:
            ModelUnreadable: the file is absent, damaged, or of another format.
        """
        return cls(Model.load(path), gazetteer or Gazetteer())

    @property
    def version(self) -> str:
        """The version that every judgement carries."""
        return self.model.version

    def judge(self, batch: Sequence[Submission]) -> list[Judgement]:
        """One judgement a submission, in order. Total: any text gives one, and never an exception."""
        if not batch:
            return []
        readings = self.model.read([submission.text for submission in batch])
        return [self._judge(submission, reading) for submission, reading in zip(batch, readings, strict=True)]

    def _judge(self, submission: Submission, reading: Reading) -> Judgement:
        named = _named(self.model.labels["target"], reading.target)
        language = identify(submission.text, _named(self.model.labels["language"], reading.language))
        written = [word for word in reading.tokens if word != "0"]
        place = self.gazetteer.find(submission.text, submission.place)
        evidence = Evidence(
            named, reading.confidence, language, place, sum(map(len, written)), len(written), reading.known
        )
        outcome, subject = decide(evidence, {**self.model.thresholds, **self.thresholds})
        best = max(named, key=lambda label: named[label])
        # What is decided without the model, by script or length, is certain and has no alternative.
        if subject == "not-understood" and best != "triage:not-understood":
            ranked: tuple[Alternative, ...] = (Alternative("triage:not-understood", 1.0),)
        else:
            ranked = alternatives(evidence, submission.wished if subject == "unsure" else "")
        nature, nature_probability = self._nature(reading, submission.nature)
        return Judgement(
            outcome=outcome,
            administration=subject if outcome == "routed" else None,
            reason=None if outcome == "routed" else cast(TriageReason | InadmissibleReason, subject),
            probability=ranked[0].probability,
            alternatives=ranked,
            language=language,
            nature=nature,
            nature_probability=nature_probability,
            place=place,
            words=self.model.reasons(reading, best),
            model_version=self.model.version,
        )

    def _nature(self, reading: Reading, declared: Nature) -> tuple[Nature, float]:
        """The text's nature where it is plain, else what was declared; with the model's probability of it."""
        named = _named(self.model.labels["nature"], reading.nature)
        best = max(named, key=lambda label: named[label])
        chosen = best if named[best] >= NATURE_CONFIDENCE else declared
        return cast(Nature, chosen), round(named.get(chosen, 0.0), 4)


def _named(labels: Sequence[str], probabilities: NDArray[np.float32]) -> dict[str, float]:
    return dict(zip(labels, probabilities.tolist(), strict=True))
