"""A decision tree."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import labels, matrix
from tellapart.core.parts import part


@part(
    paper="(plain baseline; Breiman, Friedman, Olshen, Stone, Classification and Regression Trees, 1984)",
    place="adapt",
    needs=("sklearn",),
    aliases=("cart",),
)
class DecisionTree:
    """Questions about one number at a time, each the one that leaves the classes purest; scikit-learn grows the tree.

    Formula:
        a node of items with class shares p is cut at x_f <= t, over all numbers f and all middles t between values that
        follow each other, where the sum over both sides of (items) * (1 - sum_c p_c^2) is least; not below `depth`
        questions, nor into sides of fewer than `leaf` items. p(c | x) is the share of class c in the leaf of x.

    Use it for tables of few numbers that mean something each, or where classes are no blobs; on embeddings, whose
    numbers mean little alone, linear classifiers do better. Large leaves give smoother probabilities.

    Relations: the learner that `smote` was made for; `logistic-regression` weighs all numbers at once.

    Shapes: x [n, d], y [n]; `predict_proba` [n, classes] float32 in the order of `classes_`. Numbers are compared in
    float32. Where two questions are equally good, one is drawn with a fixed seed. Inference is numpy alone.
    """

    def __init__(
        self,
        *,
        depth: Annotated[int, Field(ge=1, le=64)] = 16,
        leaf: Annotated[int, Field(ge=1, le=1_000_000)] = 1,
    ) -> None:
        self.depth, self.leaf = depth, leaf

    def fit(self, x: Any, y: Any) -> DecisionTree:
        """Grow the tree. Raises `DataError` for one class, values that are not finite, or unequal lengths."""
        from sklearn.tree import DecisionTreeClassifier

        x = matrix(x)
        classes, codes = labels(y, len(x), least=2)
        if not np.ptp(x, axis=0).any():
            raise DataError("all items are equal: there is nothing to tell the classes apart by")
        grown = DecisionTreeClassifier(max_depth=self.depth, min_samples_leaf=self.leaf, random_state=0)
        tree = grown.fit(x.astype(np.float32), codes).tree_
        self.classes_, self.width_ = classes, x.shape[1]
        self.asks_, self.threshold_ = tree.feature.copy(), tree.threshold.copy()
        self.below_, self.above_ = tree.children_left.copy(), tree.children_right.copy()
        shares = tree.value[:, 0]
        self.shares_ = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
        return self

    def predict_proba(self, x: Any) -> np.ndarray:
        """[n, classes] float32."""
        if not hasattr(self, "shares_"):
            raise DataError("decision-tree has not been fitted yet: call fit(x, y) first")
        x = matrix(x, dim=self.width_).astype(np.float32)
        node = np.zeros(len(x), dtype=np.int64)
        for _ in range(self.depth):
            inner = np.flatnonzero(self.below_[node] >= 0)
            at = node[inner]
            low = x[inner, self.asks_[at]] <= self.threshold_[at]
            node[inner] = np.where(low, self.below_[at], self.above_[at])
        return np.asarray(self.shares_[node])

    def predict(self, x: Any) -> np.ndarray:
        """[n] labels."""
        return np.asarray(self.classes_[self.predict_proba(x).argmax(axis=1)])
