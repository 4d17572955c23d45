"""What rank parts of trait `scorer` are handed beside vectors: the items themselves, and a scorer of pairs of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tellapart.core.errors import DataError, PartError

Scorer = Callable[[Sequence[Any], Sequence[Any]], np.ndarray]
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Scoring:
    """A scorer bound to the queries and documents of one call of `fit` or `rank`; it counts what it is asked.

    Args:
        query: from the row of a query to its item.
        document: from an id to its item.
        score: `score(queries, documents) -> [n]` on items; None where the part reads the items itself.
        there: `there(row, ids) -> [u] bool`, which items that query may find; None: all.

    Attributes:
        calls: pairs scored so far.
    """

    def __init__(
        self,
        query: Callable[[int], Any],
        document: Callable[[str], Any],
        score: Scorer | None = None,
        there: Callable[[int, np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._query, self._document, self._score, self._there = query, document, score, there
        self.calls = 0

    def items(self, rows: np.ndarray, ids: np.ndarray) -> tuple[list[Any], list[Any]]:
        """The items of queries at rows [n] and of documents [n], each opened once."""
        asked = {row: self._query(row) for row in np.unique(rows).tolist()}
        held = {id_: self._document(id_) for id_ in np.unique(ids).tolist()}
        return [asked[row] for row in np.asarray(rows).tolist()], [held[id_] for id_ in np.asarray(ids).tolist()]

    def there(self, row: int, ids: np.ndarray) -> np.ndarray:
        """[u] bool: which of these items the query may find."""
        return np.ones(len(ids), bool) if self._there is None else np.asarray(self._there(row, ids), bool)

    def count(self, pairs: int) -> None:
        """Pairs that a part has scored itself."""
        self.calls += pairs

    def __call__(self, rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """[n] float32: what the scorer says of each (row of a query, id of a document).

        Raises:
            PartError: a scorer that does not give one finite number a pair.
            DataError: an item that cannot be read.
        """
        if self._score is None:
            raise PartError("no scorer was given, and this part asks one")
        if not len(ids):
            return np.zeros(0, np.float32)
        self.calls += len(ids)
        found = np.asarray(self._score(*self.items(rows, ids)), np.float32)
        if found.shape != (len(ids),):
            raise PartError(
                f"the scorer gave an array of shape {found.shape} for {len(ids)} pairs: give one number each"
            )
        if not np.isfinite(found).all():
            raise PartError("the scorer gave a number that is not finite")
        return found


def scoring_of(part: object, scoring: Scoring | None) -> Scoring:
    """What was handed to a part; refused in words where it is nothing."""
    if scoring is None:
        name = type(part).__name__
        raise DataError(
            f"{name} asks a scorer about the items themselves, and was given vectors alone: search a run whose "
            "collection is at hand, or give scoring="
        )
    return scoring


def below(scores: np.ndarray, floor: float) -> np.ndarray:
    """Scores of another kind, moved below `floor` in their own order."""
    if not len(scores):
        return scores
    moved: np.ndarray = floor - 1e-3 * max(1.0, abs(floor)) + (scores - scores.max())
    return moved
