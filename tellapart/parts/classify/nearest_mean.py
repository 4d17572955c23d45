"""The nearest class mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.features import ClassMoments, labels, matrix, softmax
from tellapart.core.parts import part


@part(paper="(plain baseline)", place="adapt", traits=("stream",), aliases=("ncm", "prototypes"))
class NearestMean:
    """Every class is the mean of its items; an item belongs to the nearest mean.

    Formula:
        p(c | x) proportional to exp(-||x - mu_c||^2 / (2 s^2)), one variance s^2 = tr(S_within) / (d (n - classes)) for
        all classes and directions (with one item a class: the variance of all items). Classes count equally.

    Use it as the baseline that any other classifier has to beat, or where a class has one or two items. Its
    probabilities are too sure of themselves when d is large: the numbers of a vector are not independent.

    Relations: `clip-gda` is the same with a shared covariance instead of one variance; `mahalanobis-ood` uses its
    distances to find what belongs to no class.

    Shapes: x [n, d], y [n] words or numbers; `predict_proba` [n, classes] float32 in the order of `classes_`.
    `observe` takes further items and new classes; the result is that of one `fit` on all.
    """

    def fit(self, x: Any, y: Any) -> NearestMean:
        """Learn the means. Raises `DataError` for one class, values that are not finite, or unequal lengths."""
        x = matrix(x)
        classes, codes = labels(y, len(x), least=2)
        self._moments = ClassMoments(full=False)
        self._moments.add(x, classes, codes)
        return self._solve()

    def observe(self, x: Any, y: Any) -> NearestMean:
        """Take in further items, of old or new classes."""
        if not hasattr(self, "_moments"):
            return self.fit(x, y)
        x = matrix(x, dim=self._moments.means.shape[1])
        self._moments.add(x, *labels(y, len(x)))
        return self._solve()

    def _solve(self) -> NearestMean:
        seen = self._moments
        assert seen.classes is not None
        self.classes_, self.means_ = seen.classes, seen.means
        spread, free = float(seen.scatter), seen.n - len(seen.classes)
        if spread <= 0 or free <= 0:
            centre = np.average(seen.means, axis=0, weights=seen.counts)
            between = (seen.counts[:, None] * (seen.means - centre) ** 2).sum()
            spread, free = spread + float(between), seen.n - 1
        if spread <= 0:
            raise DataError("all items are equal: there is nothing to tell the classes apart by")
        self.variance_ = spread / (free * seen.means.shape[1])
        return self

    def logits(self, x: Any) -> np.ndarray:
        """[n, classes] float64 scores before the softmax."""
        if not hasattr(self, "means_"):
            raise DataError("nearest-mean has not been fitted yet: call fit(x, y) first")
        x = matrix(x, dim=self.means_.shape[1])
        return (x @ self.means_.T - 0.5 * (self.means_**2).sum(axis=1)) / self.variance_

    def predict_proba(self, x: Any) -> np.ndarray:
        """[n, classes] float32."""
        return softmax(self.logits(x))

    def predict(self, x: Any) -> np.ndarray:
        """[n] labels."""
        logits = self.logits(x)
        return self.classes_[logits.argmax(axis=1)]
