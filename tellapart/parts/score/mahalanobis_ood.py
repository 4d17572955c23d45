"""Distance to the nearest class mean in the metric of the shared covariance."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import ClassMoments, labels, matrix
from tellapart.core.parts import make, part


@part(
    paper="Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks, "
    "NeurIPS 2018",
    place="detect",
    system="mahalanobis-ood",
    traits=("unknown", "labels", "classes", "layers"),
    aliases=("mahalanobis",),
)
class MahalanobisOod:
    """One fitted object that finds the unknown and the attacked, and takes in new classes without training.

    Formula, for each layer l of features h_l:
        S_l = sum_i (h_i - mu_{y_i})(h_i - mu_{y_i})^T / n,  S'_l = (1 - shrinkage) S_l + shrinkage tr(S_l) / d I,
        M_l(x) = min_c (h_l(x) - mu_lc)^T pinv(S'_l) (h_l(x) - mu_lc),  score = sum_l a_l M_l. Higher = more unknown.
    `shrinkage` = 0 is the paper's covariance; directions without any variance then do not count at all, so an item
    that differs only there goes unseen. The weights a_l are 1, or those of a logistic regression of known against
    unknown on `validation` data, where their common offset is left out. The paper spatially averages
    convolutional features first, and nudges its input x <- x - eps * sign(grad_x score); `gradient` gives the
    gradient with respect to the features, which a caller who has the network multiplies back to its input.

    Use it with labels and features that a classifier was trained on; with `add_class` a class that was found
    becomes known, and `predict` is the nearest mean in this metric.

    Relations: `knn` needs no labels; `max-softmax` is the baseline; `clip-gda` classifies by the same statistics.

    Shapes: x [n, d], or a list of such blocks, one a layer; y [n]; score [n] float32.
    """

    def __init__(self, *, shrinkage: Annotated[float, Field(ge=0, le=1)] = 0.01) -> None:
        self.shrinkage = shrinkage

    def fit(self, x: Any, y: Any = None, *, validation: tuple[Any, Any] | None = None) -> MahalanobisOod:
        """Learn means and covariance of every layer.

        Args:
            validation: (known, unknown) items, neither of them used in `x`, to weigh several layers by.
        """
        if y is None:
            raise DataError("mahalanobis-ood needs labels: call fit(x, y), or use knn, which needs none")
        layers = [matrix(block) for block in _blocks(x)]
        if len({len(block) for block in layers}) > 1:
            raise DataError("the layers have unequal numbers of items")
        classes, codes = labels(y, len(layers[0]), least=2)
        self._moments = [ClassMoments() for _ in layers]
        for moments, block in zip(self._moments, layers, strict=True):
            moments.add(block, classes, codes)
        self._solve()
        self.layer_weights_ = np.ones(len(layers))
        if validation is not None:
            known, unknown = (self.distances(part) for part in validation)
            judge = make("classify", "logistic-regression")
            judge.fit(np.vstack([known, unknown]), np.repeat([0, 1], [len(known), len(unknown)]))
            self.layer_weights_ = judge.weight_[:, 1] - judge.weight_[:, 0]
        return self

    def add_class(self, x: Any, label: Any) -> MahalanobisOod:
        """Make a class known by its items: its mean is added and the shared covariance updated exactly."""
        layers = self._checked(x)
        classes, codes = labels(np.repeat([label], len(layers[0])), len(layers[0]))
        updated = [copy.copy(moments) for moments in self._moments]
        for moments, block in zip(updated, layers, strict=True):
            moments.add(block, classes, codes)
        self._moments = updated
        self._solve()
        return self

    def _solve(self) -> None:
        first = self._moments[0]
        assert first.classes is not None
        self.classes_ = first.classes
        self.means_ = [m.means for m in self._moments]
        self.precisions_ = []
        for m in self._moments:
            d = m.means.shape[1]
            covariance = m.scatter / m.n
            spread = np.trace(covariance) / d
            if spread <= 0:
                raise DataError(
                    "no class has items that differ: a covariance cannot be fitted; give more items a class"
                )
            shrunk = (1 - self.shrinkage) * covariance + self.shrinkage * spread * np.eye(d)
            # With shrinkage nothing is singular, and the inverse, which is the pseudo-inverse then, is far quicker.
            inverse = np.linalg.inv(shrunk) if self.shrinkage > 0 else np.linalg.pinv(shrunk, hermitian=True)
            self.precisions_.append((inverse + inverse.T) / 2)

    def _checked(self, x: Any) -> list[np.ndarray]:
        if not hasattr(self, "_moments"):
            raise DataError("mahalanobis-ood has not been fitted yet: call fit(x, y) first")
        blocks = _blocks(x)
        if len(blocks) != len(self.means_):
            raise DataError(f"{len(self.means_)} layers were fitted, {len(blocks)} given")
        return [matrix(b, dim=m.shape[1]) for b, m in zip(blocks, self.means_, strict=True)]

    def _to_classes(self, block: np.ndarray, layer: int) -> np.ndarray:
        """[n, classes] squared distances."""
        means, precision = self.means_[layer], self.precisions_[layer]
        centre = means.mean(axis=0)
        x, mu = block - centre, means - centre
        cross = x @ precision
        squared = (cross * x).sum(axis=1)[:, None] - 2 * cross @ mu.T + ((mu @ precision) * mu).sum(axis=1)
        return np.maximum(squared, 0.0)

    def distances(self, x: Any) -> np.ndarray:
        """[n, layers] float64: M_l(x) of every layer."""
        return np.stack([self._to_classes(b, i).min(axis=1) for i, b in enumerate(self._checked(x))], axis=1)

    def score(self, x: Any) -> np.ndarray:
        """[n] float32, higher = more unknown."""
        return (self.distances(x) @ self.layer_weights_).astype(np.float32)

    def gradient(self, x: Any) -> list[np.ndarray]:
        """The gradient of the score with respect to the features, one [n, d] block a layer."""
        found = []
        for layer, block in enumerate(self._checked(x)):
            nearest = self.means_[layer][self._to_classes(block, layer).argmin(axis=1)]
            found.append(2 * self.layer_weights_[layer] * (block - nearest) @ self.precisions_[layer])
        return found

    def predict(self, x: Any) -> np.ndarray:
        """[n] labels: the nearest class mean in the metric of the last layer."""
        blocks = self._checked(x)
        nearest = self._to_classes(blocks[-1], len(blocks) - 1).argmin(axis=1)
        return self.classes_[nearest]


def _blocks(x: Any) -> Sequence[Any]:
    """The layers: a list of matrices, or the one matrix as a list of one."""
    return x if isinstance(x, list | tuple) and len(x) and np.ndim(x[0]) == 2 else [x]
