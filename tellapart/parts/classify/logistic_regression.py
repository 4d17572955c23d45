"""Multinomial logistic regression."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import labels, matrix, softmax
from tellapart.core.parts import part


@part(paper="(plain baseline)", place="adapt", needs=("sklearn",), aliases=("linear-probe",))
class LogisticRegression:
    """A linear classifier that minimises the log loss with an L2 penalty; scikit-learn does the fitting.

    Formula:
        minimise over W, b:  ||W||^2 / 2 + c * sum_i -log softmax(u_i W + b)[y_i], where u = (x - mean) / r and r is
        the root of the mean variance of the d numbers, so that one `c` means the same for features of any unit. Two
        classes are one sigmoid with one weight vector. Kept for x itself: `weight_` [d, classes], `bias_`.

    Use it where there are some ten items a class or more; `c` is best chosen on validation data.

    Relations: `clip-gda` gives a linear head too, in closed form; `nearest-mean` is the plainer baseline.

    Shapes: x [n, d], y [n]; `predict_proba` [n, classes] float32 in the order of `classes_`. Inference is numpy alone.
    """

    def __init__(self, *, c: Annotated[float, Field(gt=0, le=1e6)] = 1.0) -> None:
        self.c = c

    def fit(self, x: Any, y: Any) -> LogisticRegression:
        """Fit by L-BFGS from zero; `converged_` says whether it got there within 2000 steps."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression as Solver

        x = matrix(x)
        classes, codes = labels(y, len(x), least=2)
        mean, spread = x.mean(axis=0), float(np.sqrt(x.var(axis=0).mean()))
        if spread == 0:
            raise DataError("all items are equal: there is nothing to tell the classes apart by")
        solver = Solver(C=self.c, max_iter=2000, tol=1e-6)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            solver.fit((x - mean) / spread, codes)
        self.converged_ = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
        weight, bias = solver.coef_.T / spread, solver.intercept_
        if len(classes) == 2:
            weight, bias = np.hstack([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])
        self.classes_, self.weight_, self.bias_ = classes, weight, bias - mean @ weight
        return self

    def logits(self, x: Any) -> np.ndarray:
        """[n, classes] float64 scores before the softmax."""
        if not hasattr(self, "weight_"):
            raise DataError("logistic-regression has not been fitted yet: call fit(x, y) first")
        return matrix(x, dim=len(self.weight_)) @ self.weight_ + self.bias_

    def predict_proba(self, x: Any) -> np.ndarray:
        """[n, classes] float32."""
        return softmax(self.logits(x))

    def predict(self, x: Any) -> np.ndarray:
        """[n] labels."""
        logits = self.logits(x)
        return self.classes_[logits.argmax(axis=1)]
