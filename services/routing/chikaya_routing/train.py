"""Trains the classifier: `python -m chikaya_routing.train --out model.npz`.

Ridge regression in its dual form on the n-grams of `domain/features.py`: a kernel of all pairs of texts, one matrix
inverse, and from it, at no further cost, what the model would have said of each text had that text not been in
training. Calibration, thresholds and every figure in the artefact come from these leave-one-out predictions.
No chance is involved and linear algebra runs on one thread, so the same inputs give the same file, bit for bit.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

CORPUS = Path(__file__).parents[1] / "corpus"
ADMINISTRATIONS = Path(__file__).parent / "data" / "administrations.csv"
SOURCES = [
    Path(__file__),
    *(Path(__file__).parent / "domain" / f"{name}.py" for name in ("classifier", "features", "normalise")),
]

PARAMETERS: dict[str, float] = {
    "target_ridge": 1.0,
    "language_ridge": 0.1,
    "nature_ridge": 0.3,
    "phrase_weight": 3.0,
    "administration_precision": 0.95,
    "local_precision": 0.95,
    "inadmissible_precision": 0.97,
    "support": 20,
}
"""`phrase_weight`: how much a phrase of the lexicon counts beside a text. `support`: the fewest leave-one-out
predictions that a threshold may rest on."""

NO_THRESHOLD = 0.97
"""The threshold where leave-one-out shows none that is precise enough: only the plainest cases pass."""


@dataclass(frozen=True, slots=True)
class Example:
    """One training text. A phrase of the lexicon has no language and no nature, and is never measured on."""

    text: str
    target: str
    language: str = ""
    nature: str = ""

    @property
    def phrase(self) -> bool:
        """Whether this is a phrase of the lexicon, not a text as a citizen writes it."""
        return not self.language


def corpus_hash(corpus: Path = CORPUS) -> str:
    """What decides the artefact, hashed: training texts, competences, parameters, and the code that reads them."""
    digest = hashlib.sha256(json.dumps([PARAMETERS, list(_competence())], sort_keys=True).encode())
    for path in [*sorted(corpus.glob("*.csv")), *SOURCES]:
        content = path.read_bytes()
        digest.update(f"{path.name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def examples(corpus: Path = CORPUS) -> list[Example]:
    """All training texts, then the phrases of the lexicon and of the administrations' competence."""
    texts: list[Example] = []
    phrases: dict[tuple[str, str], Example] = {}
    for path in sorted(corpus.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if "phrases" in row:
                    for phrase in row["phrases"].split("|"):
                        phrases[row["target"], phrase.strip()] = Example(phrase.strip(), row["target"])
                else:
                    texts.append(Example(row["text"], row["expected"], row["language"], row["nature"]))
    for target, phrase in _competence():
        phrases[target, phrase] = Example(phrase, target)
    return texts + list(phrases.values())


def _competence() -> Iterator[tuple[str, str]]:
    with ADMINISTRATIONS.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["kind"] == "commune":  # all communes share one label: the place says which it is
                continue
            for part in (*re.split(r"[,:;]", row["competence"]), row["name_fr"], row["name_ar"]):
                if part.strip():
                    yield row["slug"], part.strip()


def train(out: Path, corpus: Path = CORPUS) -> dict[str, Any]:
    """Writes the artefact to `out`; returns its metadata.

    Raises:
        FileNotFoundError: there is no training text in `corpus`.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return _train(out, corpus)


def _train(out: Path, corpus: Path) -> dict[str, Any]:
    import numpy as np

    from chikaya_routing.domain.classifier import FORMAT, sureness
    from chikaya_routing.domain.features import Features, tokens

    given = examples(corpus)
    if all(example.phrase for example in given):
        raise FileNotFoundError(f"no training text in {corpus}")
    tokenised = [tokens(example.text) for example in given]
    features = Features.fit(tokenised)
    matrix = features.matrix(tokenised)
    kernel = np.asarray((matrix @ matrix.T).todense(), dtype=np.float64)

    fitted = {}
    for head, chosen in _chosen(given).items():
        names = [getattr(given[i], head) for i in chosen]
        penalty = np.array(
            [PARAMETERS[f"{head}_ridge"] / (PARAMETERS["phrase_weight"] if given[i].phrase else 1) for i in chosen]
        )
        measured = np.array([not given[i].phrase for i in chosen])
        fitted[head] = _Head.fit(matrix[chosen], kernel[np.ix_(chosen, chosen)], names, penalty, measured)

    target = fitted["target"]
    texts = [given[i] for i in _chosen(given)["target"] if not given[i].phrase]
    sure = sureness(target.probabilities, np.array([len(found) for found in tokenised[: len(texts)]]))
    slope, offset = _reliability(sure, target.right)
    confidence = 1 / (1 + np.exp(-(slope * sure + offset)))
    thresholds = _thresholds(target, confidence)
    content_hash = corpus_hash(corpus)
    metadata: dict[str, Any] = {
        "format": FORMAT,
        "version": f"ngram-{content_hash[:12]}",
        "training_hash": content_hash,
        "parameters": PARAMETERS,
        "labels": {head: list(fit.labels) for head, fit in fitted.items()},
        "reliability": [slope, offset],
        "thresholds": thresholds,
        "metrics": _metrics(target, texts, confidence, thresholds)
        | {f"{head}_accuracy": round(float(fitted[head].right.mean()), 4) for head in ("language", "nature")},
    }
    _save(
        out,
        metadata=np.frombuffer(json.dumps(metadata, sort_keys=True).encode(), dtype=np.uint8),
        vocabulary=np.frombuffer("\n".join(features.vocabulary).encode(), dtype=np.uint8),
        idf=features.idf,
        weights=np.hstack([fit.weights for fit in fitted.values()]).astype(np.float16),
        bias=np.concatenate([fit.bias for fit in fitted.values()]).astype(np.float32),
    )
    return metadata


def _chosen(given: Sequence[Example]) -> dict[str, list[int]]:
    """Which examples train which head; texts first, as in `given`.

    What cannot be understood tells nothing of nature, and its language column says where it was collected, not what it
    is: only the texts whose language is `other` teach the language head from there.
    """
    understood = [not e.phrase and e.target != "triage:not-understood" for e in given]
    return {
        "target": list(range(len(given))),
        "language": [i for i, e in enumerate(given) if understood[i] or e.language == "other"],
        "nature": [i for i in range(len(given)) if understood[i]],
    }


@dataclass(frozen=True, slots=True)
class _Head:
    """One fitted head. `probabilities` and `right` are leave-one-out, on texts only."""

    labels: tuple[str, ...]
    weights: Any
    bias: Any
    probabilities: Any
    truth: Any

    @property
    def right(self) -> Any:
        return self.probabilities.argmax(axis=1) == self.truth

    @classmethod
    def fit(cls, matrix: Any, kernel: Any, names: Sequence[str], penalty: Any, measured: Any) -> _Head:
        import numpy as np
        from scipy.linalg import lapack
        from scipy.optimize import minimize_scalar

        labels = tuple(sorted(set(names)))
        truth = np.array([labels.index(name) for name in names])
        wanted = np.where(np.arange(len(labels)) == truth[:, None], 1.0, -1.0)
        mean = wanted.mean(axis=0)

        factor, failed = lapack.dpotrf(kernel + np.diag(penalty), lower=1)
        inverse, failed_too = lapack.dpotri(factor, lower=1)
        if failed or failed_too:
            raise ArithmeticError("the kernel of the training texts is not positive definite")
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        dual = inverse @ (wanted - mean)
        left_out = (wanted - dual / np.diag(inverse)[:, None])[measured]
        truth = truth[measured]

        def surprise(log_scale: float) -> float:
            logits = left_out * np.exp(log_scale)
            logits -= logits.max(axis=1, keepdims=True)
            return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(truth)), truth]).mean())

        scale = float(np.exp(minimize_scalar(surprise, bounds=(-2, 5), method="bounded").x))
        logits = left_out * scale
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return cls(labels, (matrix.T @ dual) * scale, mean * scale, probabilities, truth)


def _kind(label: str) -> Literal["administration", "local", "inadmissible", "triage"]:
    """What kind of outcome a label is; each has its own threshold."""
    if label.startswith("inadmissible:"):
        return "inadmissible"
    if label == "local":
        return "local"
    return "triage" if label.startswith("triage:") else "administration"


def _reliability(sure: Any, right: Any) -> tuple[float, float]:
    """Slope and offset of the logistic curve from the log-odds of the first label to how often it is right."""
    import numpy as np
    from scipy.optimize import minimize

    def surprise(curve: Any) -> float:
        logits = curve[0] * sure + curve[1]
        return float(np.logaddexp(0, np.where(right, -logits, logits)).mean())

    slope, offset = minimize(surprise, [1.0, 0.0], method="Nelder-Mead").x
    return round(float(slope), 4), round(float(offset), 4)


def _thresholds(target: _Head, confidence: Any) -> dict[str, float]:
    """For each thing that the machine may do alone, the confidence from which it is right often enough."""
    import numpy as np

    kinds = np.array([_kind(label) for label in target.labels])[target.probabilities.argmax(axis=1)]
    return {
        kind: _threshold(confidence[kinds == kind], target.right[kinds == kind], PARAMETERS[f"{kind}_precision"])
        for kind in ("administration", "local", "inadmissible")
    }


def _threshold(best: Any, right: Any, precision: float) -> float:
    import numpy as np

    order = np.argsort(-best, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero((share >= precision) & (np.arange(len(order)) + 1 >= PARAMETERS["support"]))
    return round(float(best[order][enough[-1]]), 4) if len(enough) else NO_THRESHOLD


def _metrics(target: _Head, texts: Sequence[Example], confidence: Any, thresholds: dict[str, float]) -> dict[str, Any]:
    """Leave-one-out figures of the target head, over all and by language."""
    import numpy as np

    right = target.right
    in_three = (np.argsort(-target.probabilities, axis=1)[:, :3] == target.truth[:, None]).any(axis=1)
    kinds = np.array([_kind(label) for label in target.labels])
    predicted = kinds[target.probabilities.argmax(axis=1)]
    alone = confidence >= np.array([thresholds.get(str(kind), 2.0) for kind in predicted])
    routed, rejected = alone & (predicted != "inadmissible"), alone & (predicted == "inadmissible")
    out_of_scope = np.isin(kinds[target.truth], ("triage", "inadmissible"))
    languages = np.array([example.language for example in texts])

    def share(values: Any) -> float:
        return round(float(values.mean()), 4) if len(values) else 0.0

    return {
        "method": "leave-one-out",
        "texts": len(texts),
        "accuracy": share(right),
        "top3": share(in_three),
        "routed_share": share(routed),
        "routed_accuracy": share(right[routed]),
        "rejected_share": share(rejected),
        "rejected_accuracy": share(right[rejected]),
        "misrouted_out_of_scope": share(routed[out_of_scope]),
        "by_language": {
            str(name): {"texts": int((languages == name).sum()), "accuracy": share(right[languages == name])}
            for name in np.unique(languages)
        },
    }


def _save(out: Path, **arrays: Any) -> None:
    """Writes the file whole or not at all: a service may be reading the one that is there."""
    import numpy as np

    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    partial.write_bytes(content.getvalue())
    partial.replace(out)


def cached(models: Path, corpus: Path = CORPUS) -> Path:
    """The artefact of the present inputs in the folder `models`, trained now if it is not there yet."""
    path = models / f"{corpus_hash(corpus)}.npz"
    if not path.exists():
        train(path, corpus)
    return path


def main(
    out: Annotated[Path | None, typer.Option(help="Where to write the artefact.")] = None,
    corpus: Annotated[Path, typer.Option(help="Folder of training CSV files.")] = CORPUS,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of artefacts by hash: train only if needed, print the path.")
    ] = None,
    print_hash: Annotated[
        bool, typer.Option("--print-hash", help="Print the hash of the inputs; train nothing.")
    ] = False,
) -> None:
    """Train the classifier from the corpus, or print the hash that names its artefact."""
    if print_hash:
        print(corpus_hash(corpus))
        return
    if cache is not None:
        print(cached(cache, corpus))
        return
    if out is None:
        raise typer.BadParameter("--out, --cache or --print-hash is needed")
    metadata = train(out, corpus)
    json.dump({"artefact": str(out), **metadata["metrics"], "thresholds": metadata["thresholds"]}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    typer.run(main)
