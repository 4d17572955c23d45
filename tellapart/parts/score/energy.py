"""Minus the logarithm of the sum of a classifier's exponentiated logits."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make, part


@part(
    paper="Liu, Wang, Owens, Li: Energy-based Out-of-distribution Detection, NeurIPS 2020",
    place="detect",
    traits=("unknown", "labels"),
    needs=("sklearn",),
    aliases=("free-energy",),
)
class Energy:
    """How little a classifier finds of all of its classes together.

    Formula:
        score(x) = - temperature * log sum_c exp(l_c(x) / temperature), l the logits less their mean over the classes.
        Higher = more unknown.
    The offset of logits, of which a softmax says nothing, is thereby 0 for every item, as it is in a multinomial
    regression: else the score would hang on how a classifier writes its two classes down. The paper's training with
    unknown items is not part of this.

    Use it as a plain baseline beside `max-softmax`, after a classifier that was fitted well.

    Args:
        classifier: a `classify` part that has logits, as a spec.
        temperature: towards 0 it is `max-logit`; the paper's is 1, and large ones make all items equal.

    Relations: `max-logit` looks at the largest logit alone; `max-softmax` at probabilities.

    Shapes: x [n, d], y [n] labels; score [n] float32.
    """

    def __init__(
        self,
        *,
        classifier: str = "logistic-regression",
        temperature: Annotated[float, Field(gt=0, le=1000)] = 1.0,
    ) -> None:
        self.classifier = classifier
        self.temperature = temperature

    def fit(self, x: Any, y: Any = None) -> Energy:
        """Fit the classifier. Raises `DataError` without labels, `PartError` for a classifier without logits."""
        if y is None:
            raise DataError("energy needs labels: call fit(x, y), or use knn, which needs none")
        classifier = make("classify", self.classifier)
        if not hasattr(classifier, "logits"):
            raise PartError(f"energy needs a classifier with logits, such as logistic-regression: {self.classifier}")
        self.classifier_ = classifier.fit(x, y)
        return self

    def score(self, x: Any) -> np.ndarray:
        """[n] float32, higher = more unknown."""
        if not hasattr(self, "classifier_"):
            raise DataError("energy has not been fitted yet: call fit(x, y) first")
        logits = self.classifier_.logits(x)
        logits = (logits - logits.mean(axis=1, keepdims=True)) / self.temperature
        most = logits.max(axis=1)
        found = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
        return (-self.temperature * found).astype(np.float32)
