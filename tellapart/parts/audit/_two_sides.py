"""What audits of two sides in one space ask: which queries, among which documents, and what may be learnt of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows

FEWEST = 40


@dataclass(frozen=True)
class Asked:
    """Unit vectors of the pairs that are asked, [n, d] each, and of those that are left to learn from.

    Attributes:
        rows: [n] of the collection; group: [n] duplicates have equal numbers.
        related: [n, n] whose document is right for whose query.
        tried: [m] bool which of those that are left options are chosen on: the validation part, or a half.
    """

    q: np.ndarray
    k: np.ndarray
    rows: np.ndarray
    group: np.ndarray
    related: np.ndarray
    old_q: np.ndarray
    old_k: np.ndarray
    tried: np.ndarray

    def ids(self, collection: Collection) -> list[str]:
        """Ids of what is asked."""
        return [str(i) for i in collection.ids[self.rows]]


def asked(vectors: Mapping[str, np.ndarray], collection: Collection, *, items: int, seed: int) -> Asked:
    """The test part of the split, or a half of the duplicate groups where there is none; the others to learn from.

    Args:
        vectors: `q` and `k` [n, d]. items: above so many on either part, so many are drawn.

    Raises `DataError` for rows that do not match, values that are not finite, or fewer than five pairs on either part.
    """
    if not len(collection) == len(vectors.get("q", ())) == len(vectors.get("k", ())):
        raise DataError(f"give `q` and `k` for each of the {len(collection)} items")
    group = collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.unique(group))
    held = np.isin(group, names[: len(names) // 2])
    tried = np.isin(group, names[len(names) // 2 :: 2])
    if "split" in collection.columns and "test" in (parts := collection.values("split")):
        held = np.array([part == "test" for part in parts])
        checked = np.array([part == "validation" for part in parts])
        tried = checked if checked.sum() >= FEWEST else np.isin(group, names[::2])
    new, old = (_some(np.flatnonzero(rows), items, rng) for rows in (held, ~held))
    if min(len(new), len(old)) < 5:
        raise DataError(f"{len(new)} pairs to ask and {len(old)} others are too few: give at least five of each")
    q, old_q = (_rows(vectors["q"], rows, "q") for rows in (new, old))
    k, old_k = (_rows(vectors["k"], rows, "k", dim=q.shape[1]) for rows in (new, old))
    target = collection.sides().target if {"anchor", "image", "text"} & set(collection.columns) else None
    same = group[new] if target is None else collection.codes(target)[0][new]
    related = (same[:, None] == same) & (same[:, None] >= 0) | np.eye(len(new), dtype=bool)
    return Asked(q, k, new, group[new], related, old_q, old_k, tried[old])


def _rows(z: np.ndarray, rows: np.ndarray, what: str, *, dim: int | None = None) -> np.ndarray:
    return unit_rows(matrix(np.asarray(z)[rows], dim=dim, what=what))


def _some(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
