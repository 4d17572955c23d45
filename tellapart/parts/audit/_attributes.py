"""Who answers for the attributes of items, and how diverse the answers of some items are. For `diversity`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tellapart.core import redraw
from tellapart.core.collection import Collection
from tellapart.core.cues import Cue
from tellapart.core.features import matrix, unit_rows
from tellapart.core.judging import COLUMNS, open_judge
from tellapart.core.linear import ridge_map
from tellapart.core.questions import Question
from tellapart.core.report import Figure

_RIDGE, _ASKED, _EMPTY = 1.0, 1000, "(empty)"


def answered(
    cue: Cue,
    x: np.ndarray,
    vectors: Mapping[str, Any],
    rows: np.ndarray,
    collection: Collection,
    judge: str,
    *,
    probe: bool,
) -> Cue:
    """The attribute with every item answered for: by a judge, or where a cell is empty by a probe."""
    codes = cue.codes.copy()
    if judge != COLUMNS:
        pictures = vectors.get("pictures")
        asked = (
            Question(f"Which {cue.name} is it?", tuple(cue.values), [] if pictures is None else [pictures[r]],
                     item=str(collection.ids[r])) for r in rows
        )  # fmt: skip
        told = np.array(open_judge(judge, collection).chances(asked))
        return Cue(cue.name, np.where(told.sum(axis=1) > 0.5, told.argmax(axis=1), -1), cue.values)
    if _EMPTY not in cue.values:
        return cue
    # An empty cell is no value: it is left out, or answered for.
    known = (codes >= 0) & (codes != cue.values.index(_EMPTY))
    number = np.cumsum([v != _EMPTY for v in cue.values]) - 1
    codes, values = np.where(known, number[codes], -1), [v for v in cue.values if v != _EMPTY]
    if probe and len(values) > 1 and not known.all():
        head = ridge_map(unit_rows(x[known]), np.eye(len(values))[codes[known]], _RIDGE)
        codes[~known] = head(unit_rows(x[~known])).argmax(axis=1)
    return Cue(cue.name, codes, values)


def entropy(codes: np.ndarray, values: int) -> float:
    """-sum p log p / log K of numbers below K, those below 0 left out; 0 for no items or a single value."""
    codes = codes[codes >= 0]
    if not len(codes) or values < 2:
        return 0.0
    p = np.bincount(codes) / len(codes)
    return float(-(p[p > 0] * np.log(p[p > 0])).sum() / math.log(values))


def of_lists(cue: Cue, vectors: Mapping[str, Any], rows: np.ndarray, k: int, seed: int) -> list[Figure]:
    """The diversity of result lists, and of lists drawn at random."""
    if "q" not in vectors or "k" not in vectors or len(rows) <= 2 * k:
        return []
    q, z = (unit_rows(matrix(vectors[name], what=name)[rows]) for name in ("q", "k"))
    if q.shape[1] != z.shape[1]:
        return []
    rng = np.random.default_rng(seed)
    asked = np.sort(rng.permutation(len(rows))[:_ASKED])
    first = np.argpartition(-(q[asked] @ z.T), k - 1, axis=1)[:, :k]
    drawn = rng.integers(0, len(rows), first.shape)
    found = []
    for name, lists in (("results", first), ("random lists", drawn)):
        each = np.array([entropy(codes, len(cue.values)) for codes in cue.codes[lists]])
        ends = redraw.interval(redraw.mean(each), np.arange(len(each)), seed=seed)
        found.append(Figure(f"{cue.name} in {name}", float(each.mean()), *ends, len(each)))
    return found
