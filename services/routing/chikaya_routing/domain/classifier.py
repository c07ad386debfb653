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

from chikaya_routing.domain.features import Features, Row, tokens

FORMAT = 1
HEADS = ("target", "language", "nature")

USUAL_WORDS = 20
LENGTH_POWER = 0.5
"""A long text names more administrations that are not competent, so that the same evidence means less; half the usual
length is the shortest that counts, since a few words are no evidence of a plain case."""

Vector = NDArray[np.float32]


class ModelUnreadable(Exception):
    """The file is not a model of this format; says which file and why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model says of one text: a probability for every label of each head.

    `confidence` is how often the model is right where it is as sure of its first target as here; `known` says whether
    it has met any of the words before; `ids` and `values` are the n-grams that it read.
    """

    tokens: tuple[str, ...]
    row: Row
    known: bool
    confidence: float
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
    reliability: tuple[float, float]
    """Slope and offset, in log-odds, from how sure the target head is to how often it is right."""
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
        slope, offset = metadata["reliability"]
        return cls(features, weights, bias, labels, dict(metadata["thresholds"]), (slope, offset), metadata)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What the model says of each text. Total: any string gives a reading."""
        if not texts:
            return []
        tokenised = [tuple(tokens(text)) for text in texts]
        rows = [self.features.row(found) for found in tokenised]
        logits = self.features.stack(rows) @ self.weights + self.bias
        heads, start = [], 0
        for head in HEADS:
            end = start + len(self.labels[head])
            heads.append(_softmax(logits[:, start:end]))
            start = end
        slope, offset = self.reliability
        sure = sureness(heads[0], np.array([len(found) for found in tokenised]))
        confidence = 1 / (1 + np.exp(-(slope * sure + offset)))
        return [
            Reading(found, row, self.features.has_word(row), float(confident), *by_head)
            for found, row, confident, *by_head in zip(tokenised, rows, confidence, *heads, strict=True)
        ]

    def reasons(self, reading: Reading, label: str, most: int = 8) -> tuple[tuple[str, float], ...]:
        """The words of a text that spoke for `label`, weightiest first, each with its share of the evidence.

        The words are the citizen's own and can be personal: they belong in routing's store, on no topic.
        """
        column = self.labels["target"].index(label)
        row = reading.row
        if not len(row.ids):
            return ()
        # An n-gram that occurs in several words counts for each of them in equal parts.
        evidence = row.values * self.weights[row.ids, column] / row.counts
        owners = np.repeat(np.arange(len(row.lengths)), row.lengths)
        sums = np.bincount(owners, weights=evidence[row.where[: len(owners)]], minlength=len(row.lengths))
        weight: dict[str, float] = {}
        for word, value in zip(reading.tokens, sums.tolist(), strict=True):
            if word != "0":
                weight[word] = weight.get(word, 0.0) + value
        total = sum(value for value in weight.values() if value > 0)
        if total <= 0:
            return ()
        ranked = sorted(
            ((word, value / total) for word, value in weight.items() if value > 0), key=lambda pair: -pair[1]
        )
        return tuple((word, round(share, 4)) for word, share in ranked[:most])


def sureness(target: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.float64]:
    """For each text, the log-odds of the first label of `target`, drawn towards even as the text is longer.

    `target` holds probabilities, one row a text; `lengths` its number of words.
    """
    flatter = ((np.maximum(lengths, USUAL_WORDS // 2) / USUAL_WORDS) ** -LENGTH_POWER)[:, None]
    best = _softmax(np.log(target.astype(np.float64) + 1e-9) * flatter).max(axis=1).astype(np.float64)
    best = np.clip(best, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(best / (1 - best)), dtype=np.float64)


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
