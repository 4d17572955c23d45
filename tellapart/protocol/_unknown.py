"""How well a score tells what is unknown, and its options chosen by that."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from tellapart.core.parts import make


class Chance:
    """Random numbers, whatever is asked."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(np.random.SeedSequence([seed, 9]))

    def fit(self, x: Any, y: Any = None) -> Chance:
        """Nothing."""
        return self

    def score(self, x: np.ndarray) -> np.ndarray:
        """[n] float32."""
        return self.rng.random(len(x), dtype=np.float32)


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """The share of (known, unknown) pairs in which the unknown item scores higher, ties counted half."""
    order = np.sort(known)
    below, upto = np.searchsorted(order, unknown, "left"), np.searchsorted(order, unknown, "right")
    return float((below + upto).mean() / (2 * len(known)))


def fpr95(known: np.ndarray, unknown: np.ndarray) -> float:
    """The share of unknown items at or below the threshold that 95% of the known items do not exceed."""
    return float((unknown <= np.quantile(known, 0.95)).mean())


def tuned(spec: str, grid: dict[str, list[Any]], x: Any, y: Any, tune: tuple, seed: int, **fit: Any) -> Any:
    """The score fitted on x, with the options of the grid that tell known from unknown best in `tune`."""
    best, most = None, -1.0
    for values in itertools.product(*grid.values()):
        options = dict(zip(grid, values, strict=True))
        candidate = (Chance(seed) if spec == "chance" else make("score", spec, **options)).fit(x, y, **fit)
        value = auroc(*(candidate.score(items) for items in tune)) if grid else 0.0
        if value > most:
            best, most = candidate, value
    return best
