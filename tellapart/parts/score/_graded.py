"""What scores of graded items share: the grades they are fitted to, and axes along which items differ most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.features import matrix

FEWEST = 10


def grades(x: Any, y: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """[n, d] and [n] float64; higher is better.

    Raises:
        DataError: no grades, not as many as items, ones that are no numbers or all alike, or fewer than 10.
    """
    if y is None:
        raise DataError(f"{name} needs a grade for each item: call fit(x, y), higher is better")
    z = matrix(x).astype(np.float64)
    try:
        said = np.asarray(y, np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} takes grades that are numbers, higher is better") from None
    if said.shape != (len(z),) or not np.isfinite(said).all():
        raise DataError(f"{name} takes a number for each of the {len(z)} items, finite")
    if len(z) < FEWEST or said.min() == said.max():
        raise DataError(f"{name} needs {FEWEST} items with grades that are not all alike")
    return z, said


@dataclass(frozen=True)
class Axes:
    """The first principal axes of what was fitted, each of variance 1."""

    middle: np.ndarray
    turn: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, dim: int) -> Axes:
        """At most `dim`, and none along which hardly anything differs."""
        middle = x.mean(axis=0)
        _, size, turn = np.linalg.svd(x - middle, full_matrices=False)
        kept = (np.arange(len(size)) < dim) & (size > 1e-6 * max(float(size[0]), 1e-12))
        return cls(middle, (turn[kept] / size[kept, None]).T * np.sqrt(len(x)))

    def __call__(self, x: Any) -> np.ndarray:
        """[n, at most dim] float64."""
        return (matrix(x, dim=len(self.middle)) - self.middle) @ self.turn
