"""A text as numbers: which n-grams it contains, and how telling each is.

Three blocks, each of unit length: characters 2-5 within words, words 1-2, and characters 2-4 of the words' consonant
skeletons. The same code trains and serves, so that the two cannot drift apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from chikaya_routing.domain.normalise import normalise, skeleton, tifinagh_to_latin, words

CHARACTER_N = (2, 5)
SKELETON_N = (2, 4)
BLOCKS = ("c", "w", "s")
BLOCK_WEIGHTS = (1.0, 0.7, 0.7)
"""How much characters, words and skeletons count; chosen by leave-one-out on the corpus."""

MAX_WORDS = 1_500
MAX_WORD_LENGTH = 40
_CACHE_LIMIT = 100_000

Ids = NDArray[np.int32]


def tokens(text: str) -> list[str]:
    """The words of `text` as the classifier sees them: normalised, Tifinagh in Latin letters, numbers all alike.

    A number is a date, an amount, a telephone: it tells nothing of the matter, and it can be personal.
    """
    found = words(tifinagh_to_latin(normalise(text)))[:MAX_WORDS]
    return ["0" if word.isdigit() else word[:MAX_WORD_LENGTH] for word in found]


def word_keys(word: str) -> list[str]:
    """The n-grams of one word, each marked with its block: `c` characters, `w` word, `s` skeleton."""
    keys = ["w" + word]
    padded = f" {word} "
    for n in range(CHARACTER_N[0], CHARACTER_N[1] + 1):
        keys += ["c" + padded[i : i + n] for i in range(len(padded) - n + 1)]
    bones = f" {skeleton(word)} "
    if len(bones) > 3:
        for n in range(SKELETON_N[0], SKELETON_N[1] + 1):
            keys += ["s" + bones[i : i + n] for i in range(len(bones) - n + 1)]
    return keys


def pair_keys(found: Sequence[str]) -> list[str]:
    """The pairs of neighbouring words, in order."""
    return [f"w{first} {second}" for first, second in pairwise(found)]


@dataclass(frozen=True, slots=True)
class Row:
    """One text as numbers: its n-grams, sorted, and their values; and where in the text each of them occurs.

    `where` gives, for every n-gram of the text in order (word after word, then the pairs), its place in `ids`;
    `counts` how often each of `ids` occurs, `lengths` how many n-grams each word has.
    """

    ids: Ids
    values: NDArray[np.float32]
    where: NDArray[np.intp]
    counts: NDArray[np.intp]
    lengths: Ids


@dataclass(slots=True)
class Features:
    """The vocabulary with its weights; turns texts into rows of a sparse matrix."""

    vocabulary: dict[str, int]
    idf: NDArray[np.float32]
    _known_words: dict[str, Ids] = field(default_factory=dict, repr=False)
    _bounds: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        """Finds where each block ends; the vocabulary is sorted, so that a block is a range of numbers."""
        blocks = Counter(key[0] for key in self.vocabulary)
        self._bounds = (blocks["c"], blocks["c"] + blocks["s"])

    @classmethod
    def fit(cls, tokenised: Iterable[Sequence[str]], count_in: int = 2) -> Features:
        """The n-grams that at least `count_in` texts contain, weighted by how few contain them."""
        frequency: Counter[str] = Counter()
        total = 0
        for found in tokenised:
            frequency.update({key for word in set(found) for key in word_keys(word)} | set(pair_keys(found)))
            total += 1
        keys = sorted(key for key, count in frequency.items() if count >= count_in)
        counts = np.array([frequency[key] for key in keys], dtype=np.float64)
        idf = (np.log((1 + total) / (1 + counts)) + 1).astype(np.float32)
        return cls({key: number for number, key in enumerate(keys)}, idf)

    def _of_word(self, word: str) -> Ids:
        ids = self._known_words.get(word)
        if ids is None:
            number = self.vocabulary.get
            ids = np.array([n for key in word_keys(word) if (n := number(key)) is not None], dtype=np.int32)
            if len(self._known_words) >= _CACHE_LIMIT:
                self._known_words.clear()
            self._known_words[word] = ids
        return ids

    def ids(self, found: Sequence[str]) -> tuple[list[Ids], Ids]:
        """The numbers of the known n-grams of each word of `found`, and those of its known pairs."""
        number = self.vocabulary.get
        pairs = [n for key in pair_keys(found) if (n := number(key)) is not None]
        return [self._of_word(word) for word in found], np.array(pairs, dtype=np.int32)

    def row(self, found: Sequence[str]) -> Row:
        """The n-grams of one text; of unit length, or empty where nothing is known."""
        by_word, pairs = self.ids(found)
        occurring = np.concatenate([*by_word, pairs])
        ids, where, counts = np.unique(occurring, return_inverse=True, return_counts=True)
        values = (1 + np.log(counts)) * self.idf[ids]
        first, second = np.searchsorted(ids, self._bounds)
        total = 0.0
        # Sorted by key, the blocks come as characters, skeletons, words.
        for part, weight in zip(
            (slice(0, first), slice(first, second), slice(second, None)),
            (BLOCK_WEIGHTS[0], BLOCK_WEIGHTS[2], BLOCK_WEIGHTS[1]),
            strict=True,
        ):
            length = float(np.sqrt(values[part] @ values[part]))
            if length > 0:
                values[part] *= weight / length
                total += weight**2
        if total > 0:
            values /= np.sqrt(total)
        lengths = np.array([len(of_word) for of_word in by_word], dtype=np.int32)
        return Row(ids.astype(np.int32), values.astype(np.float32), where, counts, lengths)

    def has_word(self, row: Row) -> bool:
        """Whether a row holds a whole word or a pair of words, not only pieces of some."""
        return bool(len(row.ids)) and int(row.ids[-1]) >= self._bounds[1]

    def matrix(self, tokenised: Sequence[Sequence[str]]) -> sparse.csr_matrix:
        """One row a text, one column an n-gram."""
        return self.stack([self.row(found) for found in tokenised])

    def stack(self, rows: Sequence[Row]) -> sparse.csr_matrix:
        """One or more rows as one matrix."""
        ends = np.cumsum([0, *(len(row.ids) for row in rows)])
        indices = np.concatenate([row.ids for row in rows])
        values = np.concatenate([row.values for row in rows])
        return sparse.csr_matrix((values, indices, ends), shape=(len(rows), len(self.idf)))
