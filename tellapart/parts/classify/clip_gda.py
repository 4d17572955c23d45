"""Gaussian discriminant analysis on frozen features, with an optional text head."""

from __future__ import annotations

import copy
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import ClassMoments, labels, matrix, softmax, unit_rows
from tellapart.core.parts import part


@part(
    paper="Wang et al., A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation, ICLR 2024",
    place="adapt",
    system="clip-gda",
    traits=("stream", "text"),
    aliases=("gda",),
)
class ClipGda:
    """A linear head in closed form: class means and one shared covariance, no training.

    Formula, on rows f = x / ||x||:
        S = sum_i (f_i - mu_{y_i})(f_i - mu_{y_i})^T / (n - 1),  P = d * pinv((n - 1) S + tr(S) I),
        W_c = P mu_c,  b_c = log(1 / classes) - mu_c^T P mu_c / 2,  logits = f W + b.
        With text vectors t_c of the classes: logits = f t_c / temperature + alpha (f W + b).
    With one item a class S is zero and P is taken as the identity (the authors' code would give all zeros).
    The prior is uniform and the divisor is n - 1, both as in the authors' code (the few-shot form; their
    base-to-new and unsupervised extensions are not part of this). `temperature` = 0.01 is their factor 100.
    Choose `alpha` on validation data, among powers of ten from 1e-4 to 1e2 as they do; without text it only makes
    the probabilities sharper or softer.

    Use it for few items a class (1 to 16) and frozen features; `observe` adds items or a whole class exactly.

    Relations: `nearest-mean` with a shared covariance; scikit-learn's `LinearDiscriminantAnalysis` with another
    shrinkage; `mahalanobis-ood` uses the same statistics to find the unknown.

    Shapes: x [n, d], y [n], text [classes, d] in the order of `classes_` (sorted labels).
    """

    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(gt=0, le=1e4)] = 1.0,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.01,
    ) -> None:
        self.alpha = alpha
        self.temperature = temperature

    def fit(self, x: Any, y: Any, *, text: Any = None) -> ClipGda:
        """Learn the head. Raises `DataError` for one class, values that are not finite, or shapes that do not fit."""
        x = matrix(x)
        classes, codes = labels(y, len(x), least=2)
        moments = ClassMoments()
        moments.add(unit_rows(x), classes, codes)
        return self._solve(moments, text)

    def observe(self, x: Any, y: Any, *, text: Any = None) -> ClipGda:
        """Take in further items, of old or new classes. A new class needs `text` again where there was a text head."""
        if not hasattr(self, "_moments"):
            return self.fit(x, y, text=text)
        x = matrix(x, dim=self._moments.means.shape[1])
        moments = copy.copy(self._moments)
        moments.add(unit_rows(x), *labels(y, len(x)))
        return self._solve(moments, self.text_ if text is None else text)

    def _solve(self, moments: ClassMoments, text: Any) -> ClipGda:
        assert moments.classes is not None
        d = moments.means.shape[1]
        if text is not None:
            text = unit_rows(matrix(text, dim=d, what="text"))
            if len(text) != len(moments.classes):
                raise DataError(
                    f"one text vector a class is needed: {len(moments.classes)} classes, {len(text)} vectors"
                )
        trace = float(np.trace(moments.scatter)) / max(moments.n - 1, 1)
        if trace > 0:
            # All eigenvalues are at least `trace`, so the pseudo-inverse is the inverse, and solving is exact.
            weight = d * np.linalg.solve(moments.scatter + trace * np.eye(d), moments.means.T)
        else:
            weight = moments.means.T.copy()
        bias = -np.log(len(moments.classes)) - 0.5 * (moments.means * weight.T).sum(axis=1)
        self._moments, self.text_, self.classes_ = moments, text, moments.classes
        self.weight_, self.bias_ = weight, bias
        return self

    def logits(self, x: Any) -> np.ndarray:
        """[n, classes] float64 scores before the softmax."""
        if not hasattr(self, "weight_"):
            raise DataError("clip-gda has not been fitted yet: call fit(x, y) first")
        f = unit_rows(matrix(x, dim=len(self.weight_)))
        own = self.alpha * (f @ self.weight_ + self.bias_)
        return own if self.text_ is None else f @ self.text_.T / self.temperature + own

    def predict_proba(self, x: Any) -> np.ndarray:
        """[n, classes] float32."""
        return softmax(self.logits(x))

    def predict(self, x: Any) -> np.ndarray:
        """[n] labels."""
        logits = self.logits(x)
        return self.classes_[logits.argmax(axis=1)]
