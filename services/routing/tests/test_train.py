"""The corpus is sound, and training it gives the same file each time."""

import csv
import itertools
from collections import Counter
from pathlib import Path

import pytest
from chikaya_routing.domain.classifier import Model
from chikaya_routing.train import ADMINISTRATIONS, CORPUS, cached, corpus_hash, examples, train

SPECIAL = {
    "local",
    *(f"inadmissible:{kind}" for kind in ("court", "private", "defence", "police-report", "foreign")),
    *(f"triage:{kind}" for kind in ("ambiguous", "not-understood")),
}


def slugs() -> set[str]:
    with ADMINISTRATIONS.open(encoding="utf-8", newline="") as stream:
        return {row["slug"] for row in csv.DictReader(stream) if row["kind"] != "commune"}


def test_every_example_has_a_known_target_and_every_target_has_examples() -> None:
    targets = {example.target for example in examples()}
    assert targets == slugs() | SPECIAL
    assert len(slugs()) == 50


def test_each_administration_has_texts_and_a_lexicon() -> None:
    texts = Counter(example.target for example in examples() if not example.phrase)
    phrases = Counter(example.target for example in examples() if example.phrase)
    assert all(texts[slug] >= 40 and phrases[slug] >= 15 for slug in slugs())


def test_no_two_texts_of_the_corpus_are_alike() -> None:
    grams = [
        (example.text, {example.text[i : i + 5] for i in range(len(example.text) - 4)})
        for example in examples()
        if not example.phrase and len(example.text) > 40
    ]
    holders: dict[str, list[int]] = {}
    for number, (_, found) in enumerate(grams):
        for gram in found:
            holders.setdefault(gram, []).append(number)
    shared = Counter(
        pair for numbers in holders.values() if len(numbers) <= 40 for pair in itertools.combinations(numbers, 2)
    )
    alike = [
        (grams[a][0], grams[b][0])
        for (a, b), count in shared.most_common(500)
        if count / (len(grams[a][1] | grams[b][1]) or 1) > 0.35
    ]
    assert not alike


def small_corpus(folder: Path) -> Path:
    """A fifth of the texts, as many of each target, so that training is quick."""
    folder.mkdir()
    kept: Counter[str] = Counter()
    with (CORPUS / "part1.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if kept.update([row["expected"]]) or kept[row["expected"]] <= 8]
    with (folder / "texts.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_the_same_corpus_gives_the_same_file_bit_for_bit(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path / "corpus")
    train(tmp_path / "one.npz", corpus)
    train(tmp_path / "two.npz", corpus)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_the_hash_names_the_inputs_and_the_artefact_is_trained_once(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path / "corpus")
    before = corpus_hash(corpus)
    path = cached(tmp_path / "models", corpus)
    written = path.stat().st_mtime_ns
    assert cached(tmp_path / "models", corpus).stat().st_mtime_ns == written
    assert Model.load(path).metadata["training_hash"] == before
    (corpus / "more.csv").write_text("text,language,expected,nature\nLe train est en retard,fr,oncf,complaint\n")
    assert corpus_hash(corpus) != before


def test_a_corpus_without_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        train(tmp_path / "model.npz", tmp_path)


def test_cross_validation_is_not_worse_than_it_was(artefact: Path) -> None:
    metrics = Model.load(artefact).metadata["metrics"]
    assert metrics["accuracy"] >= 0.46
    assert metrics["top3"] >= 0.67
    assert metrics["language_accuracy"] >= 0.92
    assert metrics["nature_accuracy"] >= 0.86
    assert metrics["routed_accuracy"] >= 0.95
    assert metrics["misrouted_out_of_scope"] <= 0.02
