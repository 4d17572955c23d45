"""What a model gets right, item by item, on items that it is asked about without having seen them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.crossfit import FEWEST, folds_of
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.linear import ridge_map

FOLDS, RIDGE, BLOCK = 5, 1.0, 1024


@dataclass(frozen=True)
class Outcomes:
    """Items that were asked about, and which of them came out right.

    Attributes:
        rows: [n] rows of the collection.
        right: [n] 1.0 where it was right, otherwise 0.0.
        groups: [n] duplicates have equal numbers.
        asked: what "right" means, in words.
        truth, said: [n] the right answer and the one given; None where the answers are no names.
    """

    rows: np.ndarray
    right: np.ndarray
    groups: np.ndarray
    asked: str
    truth: list[str] | None = None
    said: list[str] | None = None


def outcomes(
    vectors: Mapping[str, Any], collection: Collection, *, seed: int, by: str = "", k: int = 10, most: int = 20_000
) -> Outcomes:
    """Labels told from the vectors of other items; or, without labels, own documents found.

    With labels: a ridge regression onto classes of five items or more, each item answered for by one that was fitted on
    the other folds of five, in which duplicates are together. Without: a query is right where fewer than `k` wrong
    documents score above its own, among the items of the split `test`, or among all where there is no split.

    Args:
        vectors: `k` [n, d], or else `document`; without labels `q` [n, d] as well, in the same space.
        by: the column of labels; "" takes `label` where there is one that can be told, and pairs otherwise.
        most: above so many items, so many are drawn.

    Raises:
        DataError: neither labels nor pairs, no such column, rows that do not match.
    """
    z = matrix(vectors["k"] if "k" in vectors else vectors.get("document"), what="k")
    if len(z) != len(collection):
        raise DataError(f"{len(z)} vectors, {len(collection)} items: give as many")
    if by and by not in collection.columns:
        raise DataError(f"there is no column {by!r}; there are {', '.join(collection.columns)}")
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))
    rng = np.random.default_rng(seed)
    column = by or "label"
    if column in collection.columns:
        codes, names = collection.codes(column)
        count = np.bincount(codes[codes >= 0], minlength=len(names))
        rows = np.flatnonzero((codes >= 0) & np.append(count >= FEWEST, False)[codes])
        if len(np.unique(codes[rows])) > 1:
            return _labels(z, codes, [str(n) for n in names], _some(rows, most, rng), groups, column, rng)
    if by:
        raise DataError(f"the column {by!r} has fewer than two values with {FEWEST} items: nothing can be told apart")
    if "q" not in vectors:
        raise DataError("there are neither labels to tell nor pairs to find: name a column of labels")
    q = matrix(vectors["q"], dim=z.shape[1], what="q")
    split = collection.values("split") if "split" in collection.columns else []
    held = np.array([s == "test" for s in split], bool)
    rows = _some(np.flatnonzero(held) if held.any() else np.arange(len(z)), most, rng)
    return _pairs(unit_rows(q), unit_rows(z), rows, groups, collection, k)


def _some(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _labels(
    z: np.ndarray, codes: np.ndarray, names: list[str], rows: np.ndarray, groups: np.ndarray, column: str,
    rng: np.random.Generator,
) -> Outcomes:  # fmt: skip
    x, (known, y) = unit_rows(z[rows]), np.unique(codes[rows], return_inverse=True)
    fold, wanted = folds_of(groups[rows], FOLDS, rng), np.eye(len(known))[y]
    said = np.zeros(len(rows), np.int64)
    for f in range(FOLDS):
        if (held := fold == f).any() and not held.all():
            said[held] = ridge_map(x[~held], wanted[~held], RIDGE)(x[held]).argmax(axis=1)
    told = [[names[known[c]] for c in each] for each in (y, said)]
    return Outcomes(rows, (said == y).astype(float), groups[rows], f"{column} told from the other items", *told)


def _pairs(
    q: np.ndarray, z: np.ndarray, rows: np.ndarray, groups: np.ndarray, collection: Collection, k: int
) -> Outcomes:
    target = collection.sides().target
    same = groups if target is None else collection.codes(target)[0]
    right = np.empty(len(rows))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        s = q[block] @ z[rows].T
        own = np.einsum("nd,nd->n", q[block], z[block])
        alike = (same[block][:, None] == same[rows]) & (same[block][:, None] >= 0)
        best = np.where(alike, s, own[:, None]).max(axis=1)
        right[start : start + len(block)] = ((s > best[:, None] + 1e-6) & ~alike).sum(axis=1) < k
    return Outcomes(rows, right, groups[rows], f"own document among the first {k}")
