"""One minus the largest class probability."""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.parts import make, part


@part(
    paper="Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural "
    "Networks, ICLR 2017",
    place="detect",
    traits=("unknown", "labels"),
    needs=("sklearn",),
    aliases=("msp",),
)
class MaxSoftmax:
    """How unsure a classifier is of its own answer.

    Formula:
        score(x) = 1 - max_c p(c | x), computed as the sum of the other probabilities. Higher = more unknown.

    Use it as the baseline of detection with labels. A classifier can be very sure far away from all it has seen, which
    is what `mahalanobis-ood` and `knn` do not share.

    Args:
        classifier: any `classify` part, as a spec.

    Shapes: x [n, d], y [n] labels; score [n] float32.
    """

    def __init__(self, *, classifier: str = "logistic-regression") -> None:
        self.classifier = classifier

    def fit(self, x: Any, y: Any = None) -> MaxSoftmax:
        """Fit the classifier. Raises `DataError` without labels."""
        if y is None:
            raise DataError("max-softmax needs labels: call fit(x, y), or use knn, which needs none")
        self.classifier_ = make("classify", self.classifier).fit(x, y)
        return self

    def score(self, x: Any) -> np.ndarray:
        """[n] float32, higher = more unknown."""
        if not hasattr(self, "classifier_"):
            raise DataError("max-softmax has not been fitted yet: call fit(x, y) first")
        p = np.sort(self.classifier_.predict_proba(x).astype(np.float64), axis=1)
        return p[:, :-1].sum(axis=1).astype(np.float32)
