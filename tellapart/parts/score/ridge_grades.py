"""A plain regression on grades, whose strength is chosen by leaving out one item at a time."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.parts import part
from tellapart.parts.score._graded import grades

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)


@part(paper="(plain baseline)", place="evaluate", traits=("grades",))
class RidgeGrades:
    """How good an item is: a linear function of its features, in the unit of the grades.

    Formula, for X = x - mean(x), n items in d dimensions:
        score(x) = mean(y) + (x - mean(x)) w,   w = argmin |y - mean(y) - X w|^2 + r |w|^2
        r        = ridge * trace(X'X) / min(n, d); ridge 0: of 6 strengths from 0.001 to 100 the one of the least
                   sum_i ((y_i - score(x_i)) / (1 - h_i))^2, the error on each item when it is left out,
                   h_i = 1 / n + (X (X'X + r)^-1 X')_ii
    Higher = better, as y says.

    Use it first: what has more to it should be better than this on grades of your own. Copies of an item among those
    that it is fitted on make it choose too little `ridge`.

    Relations: `q-eval` says words, `compare2score` compares with anchors.

    Shapes: x [n, d], y [n] numbers; score [n] float32.
    """

    def __init__(self, *, ridge: Annotated[float, Field(ge=0, le=10_000)] = 0.0) -> None:
        self.ridge = ridge

    def fit(self, x: Any, y: Any = None) -> RidgeGrades:
        """Learn the function. Raises `DataError` without grades."""
        x, y = grades(x, y, "ridge-grades")
        self.middle_, self.mean_ = x.mean(axis=0), float(y.mean())
        z, given = x - self.middle_, y - self.mean_
        # The eigenvectors of the smaller of Z'Z and ZZ' give all strengths at once.
        wide = z.shape[1] > len(z)
        size, turn = np.linalg.eigh(z @ z.T if wide else z.T @ z)
        kept = size > 1e-9 * max(float(size[-1]), 1e-300)
        size, turn = size[kept], turn[:, kept]
        u = turn if wide else z @ turn / np.sqrt(size)
        middle = float(size.sum()) / min(z.shape)
        along = u.T @ given
        tried = [self.ridge] if self.ridge else STRENGTHS
        errors = []
        for ridge in tried:
            share = size / (size + ridge * middle)
            left = 1 - 1 / len(z) - (u**2) @ share
            errors.append(float((((given - u @ (share * along)) / np.maximum(left, 1e-9)) ** 2).sum()))
        self.ridge_ = tried[int(np.argmin(errors))]
        self.weight_ = z.T @ (u @ (along / (size + self.ridge_ * middle)))
        return self

    def score(self, x: Any) -> np.ndarray:
        """[n] float32, higher = better."""
        if not hasattr(self, "weight_"):
            raise DataError("ridge-grades has not been fitted yet: call fit(x, y) first")
        return np.asarray(self.mean_ + (matrix(x, dim=len(self.middle_)) - self.middle_) @ self.weight_, np.float32)
