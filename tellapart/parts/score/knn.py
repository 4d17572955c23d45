"""Distance to the k-th nearest stored vector."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.parts import part

_ROWS = 512


@part(paper="(plain baseline)", place="detect", traits=("unknown",))
class Knn:
    """How far an item lies from what is stored: the distance to its k-th nearest neighbour.

    Formula:
        score(x) = k-th smallest of ||x - z_i|| over the stored vectors z_i. Higher = more unknown.

    Use it where there are no labels, or where classes have no simple form. Nothing is fitted: the vectors are kept.
    With vectors of unit length it is the detector of Sun et al., Out-of-Distribution Detection with Deep Nearest
    Neighbors, ICML 2022.

    Relations: `mahalanobis-ood` measures the distance to class means instead, in the metric of the class scatter.

    Shapes: x [n, d]; score [n] float32. A stored item finds itself as its own nearest neighbour.
    """

    def __init__(self, *, k: Annotated[int, Field(ge=1, le=10_000)] = 5) -> None:
        self.k = k

    def fit(self, x: Any, y: Any = None) -> Knn:
        """Keep the vectors; labels are not used. Raises `DataError` for fewer than k items."""
        x = matrix(x)
        if len(x) < self.k:
            raise DataError(f"the {self.k}-th nearest of {len(x)} items does not exist: give more items or a smaller k")
        self.stored_ = x
        self._squares = (x**2).sum(axis=1)
        return self

    def score(self, x: Any) -> np.ndarray:
        """[n] float32, higher = more unknown."""
        if not hasattr(self, "stored_"):
            raise DataError("knn has not been fitted yet: call fit(x) first")
        x = matrix(x, dim=self.stored_.shape[1])
        out = np.empty(len(x), dtype=np.float32)
        for start in range(0, len(x), _ROWS):
            rows = x[start : start + _ROWS]
            squared = (rows**2).sum(axis=1)[:, None] + self._squares - 2.0 * rows @ self.stored_.T
            kth = np.partition(squared, self.k - 1, axis=1)[:, self.k - 1]
            out[start : start + len(rows)] = np.sqrt(np.maximum(kth, 0.0))
        return out
