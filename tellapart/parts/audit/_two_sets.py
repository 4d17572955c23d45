"""Which two sets of items `set-differences` compares, and how well numbers tell them apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tellapart.core.chance import difference
from tellapart.core.collection import Collection
from tellapart.core.cues import one_of_each
from tellapart.core.errors import DataError
from tellapart.core.outcomes import outcomes


def two_sets(
    vectors: Mapping[str, Any], collection: Collection, column: str, a: str, b: str, by: str, k: int, seed: int
) -> tuple[str, np.ndarray, np.ndarray]:
    """(name, rows, [rows] bool which belong to the first set): values of a column, or what is wrong and what is right.

    Raises:
        DataError: no such column or value; neither labels nor pairs where no column is named.
    """
    if not column:
        told = outcomes(vectors, collection, seed=seed, by="" if by == "label" else by, k=k)
        at = one_of_each(told.groups)
        return "wrong against right", told.rows[at], told.right[at] == 0
    values = np.array([str(v) for v in collection.values(column)])
    if missing := [value for value in (a, b) if value not in values and (value or value is a)]:
        raise DataError(f"no item has {missing[0]!r} in the column {column!r}: name two of its values as a and b")
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))
    rows = one_of_each(groups)
    rows = rows[(values[rows] == a) | ((values[rows] == b) if b else True)]
    return f"{column} {a} against {b or 'others'}", rows, values[rows] == a


def apart(
    v: np.ndarray, inside: np.ndarray, *, shares: bool, seed: int
) -> tuple[tuple[float, float, float], float, np.ndarray]:
    """The AUROC of numbers with its interval, the chance of as much, and [n] what it is the mean of.

    A difference of mean ranks over n is what the AUROC is above a half; of two shares, twice that.
    """
    test = difference(v if shares else ranks(v) / len(v), inside, np.arange(len(v)), seed=seed, alternative="greater")
    assert test is not None
    times = 0.5 if shares else 1.0
    value, low, high = (float(np.clip(0.5 + times * end, 0, 1)) for end in (test.value, test.low, test.high))
    return (value, low, high), test.p, 0.5 + times * test.parts


def auroc(v: np.ndarray, inside: np.ndarray) -> float:
    """The chance that a number inside is above one outside; ties count half."""
    here, there = int(inside.sum()), int((~inside).sum())
    return float((ranks(v)[inside].sum() - here * (here + 1) / 2) / (here * there))


def ranks(v: np.ndarray) -> np.ndarray:
    """[n] ranks from 1, the mean rank where numbers are equal."""
    _, number, count = np.unique(v, return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    return np.asarray((ends - (count - 1) / 2)[number], float)
