"""The orthogonal map."""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.aligning import Aligner, Layer, paired
from tellapart.core.parts import part


@part(
    paper="(plain baseline: Schoenemann, A generalized solution of the orthogonal Procrustes problem, 1966)",
    place="retrieve",
)
class Procrustes(Aligner):
    """A rotation (with reflections) of the new space that lays it upon the old one.

    Formula, for unit rows X [n, d] of the new space and Y [n, d'] of the old one:

        W = argmin ||X W - Y||^2 over W with orthonormal rows or columns = U V', where X'Y = U S V'
        z = unit(x W)

    Where the widths differ the narrower space is filled up with zeros, which gives W its orthonormal rows (d < d') or
    columns (d > d').

    Use it when: two encoders differ by little more than their seed, or pairs are few: it cannot overfit much, and keeps
    all angles where d <= d'.

    Relations: `ridge` is free to stretch and shift; `relative-representations` needs no map where angles are the same.

    Shapes: new [n, d], old [n, d'] in `fit`; `transform` [m, d] -> [m, d'] float32 of length 1. `pairs` is not used.
    """

    def fit(self, new: Any, old: Any, *, pairs: Any = None, seed: int = 0) -> Procrustes:
        """Solve for the rotation. Raises `DataError` for what are no pairs, or fewer than two of them."""
        x, y = paired(new, old)
        u, _, vt = np.linalg.svd(x.T @ y, full_matrices=False)
        self.weight_ = (u @ vt).T.astype(np.float32)
        return self

    def layers(self, side: str = "query") -> list[Layer]:
        """One layer without a bias, the same for both sides."""
        weight = self.learnt("weight_")
        return [Layer(weight, np.zeros(len(weight), np.float32))]
