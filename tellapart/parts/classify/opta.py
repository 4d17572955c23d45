"""Class means moved by optimal transport to where unlabelled items lie."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import labels, matrix
from tellapart.core.parts import make, part

ROUNDS, CLOSE = 1000, 1e-6
MOST = 100_000


@part(
    paper="Poulakakis-Daktylidis & Jamali-Rad, BECLR: Batch Enhanced Contrastive Few-Shot Learning, ICLR 2024",
    place="adapt",
    system="beclr",
    traits=("unlabelled",),
    aliases=("optimal-transport-alignment",),
)
class Opta:
    """Few labelled items stand aside from the middle of their class; unlabelled items show where that middle is.

    Formula, with every item standardised over its own d numbers, p_c the mean of the items of class c (C of them) and
    u_j the unlabelled items (m of them), `passes` times::

        D_cj = |p_c - u_j|^2 / max |p - u|^2
        pi   = argmin <pi, D> - regularization * entropy(pi),  rows of pi summing to 1 / C, columns to 1 / m
        p_c <- sum_j pi_cj u_j / sum_j pi_cj

    and at the end share * p_c + (1 - share) * (p_c of the labelled items alone). The `inner` classifier is fitted on
    these means, one item a class. The plan is Sinkhorn's, taken until its rows are right to a millionth, or for 1,000
    rounds.

    The paper has 5 passes and a share of 1 with one item a class, 1 pass and 0.7 with five, both from the authors' code
    as is the standardising, and logistic regression inside. There all unlabelled items are to be classified; here they
    are given to `fit`, and any item can be classified afterwards, by itself. Of more than 100,000 those at even
    distances are taken.

    Use it where classes have one to five labelled items, many items have no label, and classes are about equally common
    among these: the plan shares them out evenly, and where one class is rare its mean is drawn into its neighbours.
    Without unlabelled items it is the inner classifier on class means.

    Relations: `nearest-mean` is it without unlabelled items. `clip-gda` learns from labelled items, and names, alone.

    Shapes: x [n, d], y [n], unlabelled [m, d]; `predict_proba` [n, classes] float32 in the order of `classes_`.

    Args:
        passes: how often the means are moved.
        regularization: of the plan, where the largest distance is 1; small makes it sharp.
        share: of the moved mean; the rest is the mean of the labelled items.
        inner: the classifier that gets the means, by name.
    """

    def __init__(
        self,
        *,
        passes: Annotated[int, Field(ge=1, le=100)] = 1,
        regularization: Annotated[float, Field(ge=0.005, le=10)] = 0.05,
        share: Annotated[float, Field(ge=0, le=1)] = 0.7,
        inner: str = "nearest-mean",
    ) -> None:
        self.passes, self.regularization, self.share, self.inner = passes, regularization, share, inner

    def fit(self, x: Any, y: Any, *, unlabelled: Any = None) -> Opta:
        """Learn the means. Raises `DataError` for one class, values that are not finite, or unequal widths."""
        x = matrix(x)
        classes, codes = labels(y, len(x), least=2)
        z = _standardised(x)
        first = np.stack([z[codes == c].mean(axis=0) for c in range(len(classes))])
        moved = first
        if unlabelled is not None:
            u = matrix(unlabelled, dim=x.shape[1], what="unlabelled")
            u = _standardised(u[np.linspace(0, len(u) - 1, min(len(u), MOST)).astype(np.int64)])
            for _ in range(self.passes):
                plan = _plan(moved, u, self.regularization)
                moved = plan @ u / plan.sum(axis=1, keepdims=True)
            moved = self.share * moved + (1 - self.share) * first
        self._inner = make("classify", self.inner).fit(moved, classes)
        self.prototypes_, self.classes_ = moved, classes
        return self

    def predict_proba(self, x: Any) -> np.ndarray:
        """[n, classes] float32."""
        z = self._seen(x)
        p: np.ndarray = self._inner.predict_proba(z)
        return p

    def predict(self, x: Any) -> np.ndarray:
        """[n] labels."""
        z = self._seen(x)
        said: np.ndarray = self._inner.predict(z)
        return said

    def _seen(self, x: Any) -> np.ndarray:
        if not hasattr(self, "prototypes_"):
            raise DataError("opta has not been fitted yet: call fit(x, y, unlabelled=...) first")
        return _standardised(matrix(x, dim=self.prototypes_.shape[1]))


def _standardised(x: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and deviation 1; a row of one value becomes zeros."""
    spread = x.std(axis=1, keepdims=True)
    some = spread > np.abs(x).max(axis=1, keepdims=True) * 1e-12
    return np.asarray(np.where(some, x - x.mean(axis=1, keepdims=True), 0.0) / np.where(some, spread, 1.0))


def _plan(p: np.ndarray, u: np.ndarray, regularization: float) -> np.ndarray:
    """[c, m] the regularised plan between points of equal weight."""
    cost = np.maximum((p**2).sum(axis=1)[:, None] + (u**2).sum(axis=1) - 2 * p @ u.T, 0.0)
    # What is taken from a whole column changes no plan, and keeps the exponentials from vanishing.
    cost = cost / max(float(cost.max()), 1e-300)
    kernel = np.exp((cost.min(axis=0) - cost) / regularization)
    columns = np.ones(len(u))
    for _ in range(ROUNDS):
        rows = 1 / len(p) / (kernel @ columns)
        columns = 1 / len(u) / (rows @ kernel)
        if np.abs(rows * (kernel @ columns) * len(p) - 1).max() < CLOSE:
            break
    return np.asarray(rows[:, None] * kernel * columns)
