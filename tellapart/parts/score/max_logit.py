"""Minus the largest logit of a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make, part


@part(
    paper="Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, ICML 2022",
    place="detect",
    traits=("unknown", "labels"),
    needs=("sklearn",),
    aliases=("maxlogit",),
)
class MaxLogit:
    """How little a classifier finds of any of its classes.

    Formula:
        score(x) = - max_c l_c(x), l the logits less their mean over the classes. Higher = more unknown.
    A softmax is the same for logits with any offset, so that without this a score would hang on how a classifier
    writes its two classes down; a multinomial regression's logits have mean zero as it is.

    Use it as a plain baseline beside `max-softmax` where there are many classes, several of which an item may be like:
    those share the probability, but not the logit.

    Args:
        classifier: a `classify` part that has logits, as a spec.

    Relations: `max-softmax` looks at probabilities; `energy` at all logits together.

    Shapes: x [n, d], y [n] labels; score [n] float32.
    """

    def __init__(self, *, classifier: str = "logistic-regression") -> None:
        self.classifier = classifier

    def fit(self, x: Any, y: Any = None) -> MaxLogit:
        """Fit the classifier. Raises `DataError` without labels, `PartError` for a classifier without logits."""
        if y is None:
            raise DataError("max-logit needs labels: call fit(x, y), or use knn, which needs none")
        classifier = make("classify", self.classifier)
        if not hasattr(classifier, "logits"):
            raise PartError(f"max-logit needs a classifier with logits, such as logistic-regression: {self.classifier}")
        self.classifier_ = classifier.fit(x, y)
        return self

    def score(self, x: Any) -> np.ndarray:
        """[n] float32, higher = more unknown."""
        if not hasattr(self, "classifier_"):
            raise DataError("max-logit has not been fitted yet: call fit(x, y) first")
        logits = self.classifier_.logits(x)
        return (logits.mean(axis=1) - logits.max(axis=1)).astype(np.float32)
