"""Log-likelihood under the likeliest class, each of which is a mixture of Gaussians over kinds of its items."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import ClassMoments, labels, matrix
from tellapart.core.parts import part
from tellapart.core.plan import kmeans

_ROWS = 1024
_SEED = 0


@part(
    paper="(plain baseline; Hastie, Tibshirani, Discriminant Analysis by Gaussian Mixtures, JRSS B 1996)",
    place="detect",
    traits=("unknown", "labels"),
    needs=("sklearn",),
    aliases=("class-gmm",),
)
class ClassMixtures:
    """Every class is several Gaussians, one for each kind of items that k-means finds in it; all share one spread.

    Formula: the items of class c are cut into K_c clusters by k-means, cluster k with the share pi_ck of them and the
    mean mu_ck; S is the scatter of all items about the mean of their cluster, divided by n:
        S'  = (1 - shrinkage) S + shrinkage tr(S) / d I
        l_c(x) = log sum_k pi_ck exp(-(x - mu_ck)^T S'^-1 (x - mu_ck) / 2)
        score = - max_c l_c.  Higher = more unknown.
    The shared normalising constant is left out. K_c is `components`, or fewer where that leaves not `least` items for
    each. Clusters are hard: soft ones, by expectation-maximisation, are those of the paper. In hundreds of dimensions
    nearly every item belongs to one component alone, and the two differ little.

    Use it with labels where a class holds several kinds: coarse labels, merged groups, many senses.

    Args:
        components: kinds a class; 1 orders items as `mahalanobis-ood` does.
        least: items that a kind has at least, on average.
        shrinkage: towards equal spread in all directions.

    Relations: `mahalanobis-ood` has one mean a class; `hvcm` one covariance a class; `knn` looks at
    single items. `palm` trains vectors with several prototypes a class.

    Shapes: x [n, d], y [n]; score [n] float32.
    """

    def __init__(
        self,
        *,
        components: Annotated[int, Field(ge=1, le=1000)] = 3,
        least: Annotated[int, Field(ge=1, le=10_000)] = 10,
        shrinkage: Annotated[float, Field(ge=1e-6, le=1)] = 0.01,
    ) -> None:
        self.components = components
        self.least = least
        self.shrinkage = shrinkage

    def fit(self, x: Any, y: Any = None) -> ClassMixtures:
        """Find the kinds and learn their spread. Raises `DataError` without labels, or where nothing varies."""
        if y is None:
            raise DataError("class-mixtures needs labels: call fit(x, y), or use knn, which needs none")
        x = matrix(x)
        classes, codes = labels(y, len(x), least=2)
        kind = np.zeros(len(x), dtype=np.int64)
        owner: list[int] = []
        for c in range(len(classes)):
            rows = np.flatnonzero(codes == c)
            # Equal items can be told apart by no cluster, and k-means would warn of the empty ones.
            mine = x[rows].astype(np.float32)
            different = len(np.unique(mine, axis=0))
            count = max(1, min(self.components, len(rows) // self.least, different))
            found = kmeans(mine, count, _SEED) if count > 1 else np.zeros(len(rows), np.int64)
            found = np.unique(found, return_inverse=True)[1]
            kind[rows] = len(owner) + found
            owner += [c] * (int(found.max()) + 1)
        moments = ClassMoments()
        moments.add(x, np.arange(len(owner)), kind)
        covariance = moments.scatter / len(x)
        spread = float(np.trace(covariance)) / x.shape[1]
        if spread <= 0:
            raise DataError("no class has items that differ: a covariance cannot be fitted; give more items a class")
        shrunk = (1 - self.shrinkage) * covariance + self.shrinkage * spread * np.eye(x.shape[1])
        # L^-1 of S' = L L^T makes the distance a plain one.
        self.whitener_ = np.linalg.inv(np.linalg.cholesky(shrunk))
        self.classes_, self.owner_, self.means_ = classes, np.asarray(owner), moments.means
        self.log_share_ = np.log(moments.counts / np.bincount(codes)[self.owner_])
        return self

    def likelihoods(self, x: Any) -> np.ndarray:
        """[n, classes] float64: l_c of every class."""
        if not hasattr(self, "classes_"):
            raise DataError("class-mixtures has not been fitted yet: call fit(x, y) first")
        x, centre = matrix(x, dim=self.means_.shape[1]), self.means_.mean(axis=0)
        out, mu = np.empty((len(x), len(self.classes_))), (self.means_ - centre) @ self.whitener_.T
        for start in range(0, len(x), _ROWS):
            z = (x[start : start + _ROWS] - centre) @ self.whitener_.T
            squared = (z**2).sum(axis=1)[:, None] - 2 * z @ mu.T + (mu**2).sum(axis=1)
            log = self.log_share_ - np.maximum(squared, 0.0) / 2
            for c in range(len(self.classes_)):
                out[start : start + len(z), c] = np.logaddexp.reduce(log[:, self.owner_ == c], axis=1)
        return out

    def score(self, x: Any) -> np.ndarray:
        """[n] float32, higher = more unknown."""
        return (-self.likelihoods(x).max(axis=1)).astype(np.float32)

    def predict(self, x: Any) -> np.ndarray:
        """[n] labels: the likeliest class, all being equally common."""
        return self.classes_[self.likelihoods(x).argmax(axis=1)]
