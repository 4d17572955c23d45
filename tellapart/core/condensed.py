"""Few items that stand for a collection: what parts of shape `condense` give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tellapart.core.errors import DataError


@dataclass(frozen=True)
class Condensed:
    """Items with labels in the place of many.

    Attributes:
        x: [m, d] float32 vectors.
        y: [m] labels, of those that were given.
        weight: [m] float32, of how many items each stands for, in units of the mean.
        rows: [m] int64, which of the given items they are; None: they are made.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)


def counted(count: int, n: int, classes: int) -> int:
    """`count`, refused in words where it is not from the number of classes to that of the items."""
    if not classes <= count <= n:
        raise DataError(f"{n} items of {classes} classes can be condensed to {classes} to {n} items, not to {count}")
    return count
