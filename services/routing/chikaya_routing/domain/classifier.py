"""The trained model: a text in, calibrated probabilities out. Inference only, numpy and scipy only.

Three linear heads on the same n-grams: the target (an administration, `local`, a reason of inadmissibility or of
triage), the language, and the nature. The artefact is one `.npz` file read without pickle.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chikaya_routing.domain.features import Features, tokens

FORMAT = 1
HEADS = ("target", "language", "nature")

Vector = NDArray[np.float32]


class ModelUnreadable(Exception):
    """The file is not a model of this format; says which file and why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model says of one text: a probability for every label of each head."""

    tokens: tuple[str, ...]
    known: float
    """Share of the words that hold at least one telling n-gram of the vocabulary, 0 to 1."""
    target: Vector
    language: Vector
    nature: Vector


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded artefact.

    `weights` is vocabulary × (all labels, head after head), already scaled by each head's calibration;
    `labels[head]` names the columns of a head, `thresholds` are the probabilities from which the machine decides alone.
    """

    features: Features
    weights: Vector
    bias: Vector
    labels: dict[str, tuple[str, ...]]
    thresholds: dict[str, float]
    metadata: dict[str, Any]

    @property
    def version(self) -> str:
        """Names the artefact in every decision: its training data's hash, shortened."""
        return str(self.metadata["version"])

    @classmethod
    def load(cls, path: Path) -> Model:
        """Reads an artefact.

        Raises:
            ModelUnreadable: the file is absent, damaged, or of another format.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                metadata = json.loads(stored["metadata"].tobytes().decode())
                if metadata.get("format") != FORMAT:
                    raise ModelUnreadable(f"{path}: format {metadata.get('format')}, this service reads {FORMAT}")
                keys = stored["vocabulary"].tobytes().decode().split("\n")
                features = Features({key: number for number, key in enumerate(keys)}, stored["idf"])
                weights = stored["weights"].astype(np.float32)
                bias = stored["bias"].astype(np.float32)
        except (OSError, ValueError, KeyError) as error:
            raise ModelUnreadable(f"{path}: {error}") from error
        labels = {head: tuple(metadata["labels"][head]) for head in HEADS}
        return cls(features, weights, bias, labels, dict(metadata["thresholds"]), metadata)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What the model says of each text. Total: any string gives a reading."""
        tokenised = [tokens(text) for text in texts]
        logits = self.features.matrix(tokenised) @ self.weights + self.bias
        heads, start = [], 0
        for head in HEADS:
            end = start + len(self.labels[head])
            heads.append(_softmax(logits[:, start:end]))
            start = end
        return [
            Reading(tuple(found), self._known(found), target, language, nature)
            for found, target, language, nature in zip(tokenised, *heads, strict=True)
        ]

    def _known(self, found: Sequence[str]) -> float:
        if not found:
            return 0.0
        return sum(f"w{word}" in self.features.vocabulary for word in found) / len(found)

    def reasons(self, reading: Reading, label: str, most: int = 8) -> tuple[tuple[str, float], ...]:
        """The words of a text that spoke for `label`, weightiest first, each with its share of the evidence.

        The words are the citizen's own and can be personal: they belong in routing's store, on no topic.
        """
        column = self.labels["target"].index(label)
        ids, values = self.features.row(reading.tokens)
        if not len(ids):
            return ()
        by_word, pairs = self.features.ids(reading.tokens)
        # An n-gram that occurs in several words counts for each of them in equal parts.
        occurrences = np.bincount(np.searchsorted(ids, np.concatenate([*by_word, pairs])), minlength=len(ids))
        evidence = values * self.weights[ids, column] / np.maximum(occurrences, 1)
        weight: dict[str, float] = {}
        for word, of_word in zip(reading.tokens, by_word, strict=True):
            if word != "0":
                weight[word] = weight.get(word, 0.0) + float(evidence[np.searchsorted(ids, of_word)].sum())
        total = sum(value for value in weight.values() if value > 0)
        if total <= 0:
            return ()
        ranked = sorted(
            ((word, value / total) for word, value in weight.items() if value > 0), key=lambda pair: -pair[1]
        )
        return tuple((word, round(share, 4)) for word, share in ranked[:most])


def _softmax(logits: Vector) -> Vector:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)
