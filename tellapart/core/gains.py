"""Whether a change puts more queries right: hits before and after, query by query. numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tellapart.core import redraw
from tellapart.core.chance import at_most

MARGIN = 0.01


@dataclass(frozen=True)
class Gain:
    """The mean of after less before.

    Attributes:
        low, high: the 95% interval; None for too few groups.
        p: the chance of so much where at most `MARGIN` of all groups are better afterwards.
        count: how many groups.
        values: [n] after less before, item by item.
    """

    value: float
    low: float | None
    high: float | None
    p: float
    count: int
    values: np.ndarray


def gain(before: np.ndarray, after: np.ndarray, groups: np.ndarray, *, seed: int) -> Gain:
    """What a change brings the same queries.

    p is that of a one-sided sign test over groups, of which `MARGIN` of all are first taken from those that are better:
    a change that is sure and too small to matter is none.

    Args:
        before, after: [n] what each query gets; groups: [n] duplicates have equal numbers.
    """
    values = np.asarray(after, float) - np.asarray(before, float)
    _, number = np.unique(groups, return_inverse=True)
    each = np.bincount(number, values) / np.bincount(number)
    better = max(0, int((each > 0).sum()) - math.ceil(MARGIN * len(each)))
    total = better + int((each < 0).sum())
    p = at_most(total - better, total, 0.5)
    low, high = redraw.interval(redraw.mean(values), groups, seed=seed, ends=(-1.0, 1.0))
    return Gain(float(values.mean()), low, high, p, len(each), values)


def found(scores: np.ndarray, related: np.ndarray, k: int) -> np.ndarray:
    """[n] 1.0 where fewer than `k` unrelated columns score above the best related one, ties counted as half."""
    best = np.where(related, scores, -np.inf).max(axis=1, keepdims=True)
    above = ((scores > best) & ~related).sum(axis=1) + ((scores == best) & ~related).sum(axis=1) / 2
    return np.asarray(above < k, float)
