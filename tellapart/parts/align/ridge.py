"""The linear map by least squares."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.aligning import Aligner, Layer, paired
from tellapart.core.parts import part


@part(paper="(plain baseline: Hoerl and Kennard, Ridge Regression, Technometrics 1970)", place="retrieve")
class Ridge(Aligner):
    """An affine map by penalised least squares.

    Formula, for unit rows X [n, d] of the new space and Y [n, d'] of the old one, both less their means:

        W = argmin ||X W - Y||^2 + a ||W||^2 = (X'X + a I)^-1 X'Y,   a = penalty * trace(X'X) / d
        z = unit(mean(Y) + (x - mean(X)) W)

    Use it when: pairs are several times as many as the new space is wide. It is the first thing to try, and what
    anything learnt has to beat.

    Args:
        penalty: in units of the mean eigenvalue of X'X, so that it means the same for any width and number of pairs.

    Relations: `procrustes` keeps angles; `xbt` is trained on texts alone and then on a few pairs.

    Shapes: new [n, d], old [n, d'] in `fit`; `transform` [m, d] -> [m, d'] float32 of length 1. `pairs` is not used.
    """

    def __init__(self, *, penalty: Annotated[float, Field(gt=0, le=1e6)] = 0.1) -> None:
        self.penalty = penalty

    def fit(self, new: Any, old: Any, *, pairs: Any = None, seed: int = 0) -> Ridge:
        """Solve for the map. Raises `DataError` for what are no pairs, or fewer than two of them."""
        x, y = paired(new, old)
        middle, centre = x.mean(axis=0), y.mean(axis=0)
        z = x - middle
        gram = z.T @ z
        a = self.penalty * float(np.trace(gram)) / len(gram) + 1e-12
        weight = np.linalg.solve(gram + a * np.eye(len(gram)), z.T @ (y - centre))
        self.weight_ = weight.T.astype(np.float32)
        self.bias_ = (centre - middle @ weight).astype(np.float32)
        return self

    def layers(self, side: str = "query") -> list[Layer]:
        """One layer, the same for both sides."""
        return [Layer(self.learnt("weight_"), self.learnt("bias_"))]
