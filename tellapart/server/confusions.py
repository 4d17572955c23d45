"""Pairs that a model cannot tell apart: a wrong document scores at least as high as the right one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tellapart.core.collection import Collection, Sides

ROWS = 512
COLUMNS = 16_384
NOTHING = -1


@dataclass(frozen=True)
class Confusion:
    """One query for which a wrong document is at least as near as the right one.

    Attributes:
        query: id of the item that was asked for.
        right, wrong: ids of its best right document and of its best wrong one.
        right_score, wrong_score: what the model gives them.
        both_ways: whether the wrong item, asked for, finds this one first as well.
    """

    query: str
    right: str
    wrong: str
    right_score: float
    wrong_score: float
    both_ways: bool = False


@dataclass(frozen=True)
class Belonging:
    """What belongs together, one int64 code an item; -1 belongs to nothing.

    Attributes:
        right: equal codes make a document right for a query, beside the query's own pair.
        kin: codes of which one being equal makes a document neither right nor wrong (duplicates, one concept).
        own: whether an item's own document is right for it (not where both sides are one column).
    """

    right: np.ndarray
    kin: tuple[np.ndarray, ...]
    own: bool

    @staticmethod
    def of(collection: Collection, sides: Sides) -> Belonging:
        """What the columns `group`, `concept` and the target of the sides say."""
        missing = np.full(len(collection), NOTHING, np.int64)
        right = collection.codes(sides.target)[0] if sides.target else missing
        kin = tuple(collection.codes(c)[0] for c in ("group", "concept") if c in collection.columns)
        return Belonging(right, kin, own=not sides.same_space)


def find(
    ids: np.ndarray,
    rows: np.ndarray,
    belonging: Belonging,
    queries: Callable[[np.ndarray], np.ndarray],
    documents: Callable[[np.ndarray], np.ndarray],
    columns: np.ndarray,
    *,
    progress: Callable[[float], None] | None = None,
) -> tuple[list[Confusion], int]:
    """The confusions of the queries at `rows`, widest gap first, each unordered pair once; and of how many queries.

    Args:
        ids: [n] ids of the collection.
        rows: row numbers whose queries are asked.
        queries, documents: [r] row numbers -> [r, d] vectors of unit length.
        columns: row numbers whose documents are searched.
        progress: told the share that is done.
    """
    found: list[Confusion] = []
    for start in range(0, len(rows), ROWS):
        block = rows[start : start + ROWS]
        found += _block(ids, block, belonging, queries(block), documents, columns)
        if progress is not None:
            progress(min(1.0, (start + len(block)) / len(rows)))
    return _once(found), len(found)


def _block(
    ids: np.ndarray,
    rows: np.ndarray,
    belonging: Belonging,
    q: np.ndarray,
    documents: Callable[[np.ndarray], np.ndarray],
    columns: np.ndarray,
) -> list[Confusion]:
    best = {
        kind: (np.full(len(rows), -np.inf, np.float32), np.zeros(len(rows), np.int64)) for kind in ("right", "wrong")
    }
    for start in range(0, len(columns), COLUMNS):
        cols = columns[start : start + COLUMNS]
        scores = (q @ documents(cols).T).astype(np.float32)
        same = rows[:, None] == cols
        right = _equal(belonging.right, rows, cols) & ~same
        right |= same & belonging.own
        kin = same.copy()
        for codes in belonging.kin:
            kin |= _equal(codes, rows, cols)
        for kind, allowed in (("right", right), ("wrong", ~right & ~kin)):
            masked = np.where(allowed, scores, -np.inf)
            at = masked.argmax(1)
            score = masked[np.arange(len(rows)), at]
            top, place = best[kind]
            better = score > top
            top[better], place[better] = score[better], cols[at[better]]
    (right_score, right_row), (wrong_score, wrong_row) = best["right"], best["wrong"]
    confused = np.isfinite(right_score) & np.isfinite(wrong_score) & (wrong_score >= right_score)
    return [
        Confusion(ids[rows[i]], ids[right_row[i]], ids[wrong_row[i]], float(right_score[i]), float(wrong_score[i]))
        for i in np.flatnonzero(confused)
    ]


def _equal(codes: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    return (codes[rows][:, None] == codes[cols]) & (codes[rows] != NOTHING)[:, None]


def _once(found: list[Confusion]) -> list[Confusion]:
    """Each unordered pair once, with its wider gap; those that are confused both ways first where gaps are equal."""
    kept: dict[frozenset[str], Confusion] = {}
    for c in sorted(found, key=lambda c: (c.right_score - c.wrong_score, c.query, c.wrong)):
        pair = frozenset((c.query, c.wrong))
        first = kept.get(pair)
        if first is None:
            kept[pair] = c
        elif first.query != c.query:
            kept[pair] = Confusion(
                first.query, first.right, first.wrong, first.right_score, first.wrong_score, both_ways=True
            )
    return list(kept.values())
