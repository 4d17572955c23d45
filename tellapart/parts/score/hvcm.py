"""Distance to the nearest class, each of which is a mixture of Gaussians over subgroups of the features."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import labels, matrix, unit_rows
from tellapart.core.parts import part

_ROWS = 1024
_SEED = 0


@part(
    paper="Li et al., Hierarchical Visual Categories Modeling: A Joint Representation Learning and Density Estimation "
    "Framework for Out-of-Distribution Detection, ICCV 2023",
    place="detect",
    system="hvcm",
    traits=("unknown", "labels"),
    aliases=("hierarchical-visual-categories",),
)
class Hvcm:
    """Every class has a Gaussian of its own in each of several subgroups of the features; the score adds them up.

    Formula: a = R x / ||x|| are the attributes of an item, R a fixed random rotation, cut into G subgroups a_g of about
    d / G numbers. For class c with n_c items, with mu_cg and S_cg the mean and the scatter (sum of squares) of its a_g:
        V_g  = sum_c S_cg / (n - classes)                                        what all classes share
        C_cg = (S_cg + prior V_g) / (n_c - 1 + prior)
        C'_cg = (1 - shrinkage) C_cg + shrinkage tr(V_g) / d_g I
        M_cg(x) = (a_g - mu_cg)^T C'_cg^-1 (a_g - mu_cg)
        score = min_c sum_g M_cg / (2 G).  Higher = more unknown.

    What was taken: the paper's mixture is over subgroups of the attributes, not over kinds of items, and its score, as
    its authors' code has it, is min_c sum_g w_cg M_cg / 2 without determinants, with an unbiased covariance for each
    class and subgroup. There the attributes come of a head trained by self-distillation and a loss that pulls them to
    class centres, and the weights w_cg of another head. This is the part that needs no training: frozen features stand
    for its unit bottleneck, a rotation for its linear map (its subgroups, too, are different views of all features and
    no runs of neighbouring ones), and weights are 1 / G, near which they begin there. `prior` and `shrinkage` are
    not the paper's, whose classes have 1,300 items: without them the covariance of a class with fewer items than a
    subgroup has numbers has no inverse.

    Use it with labels, where classes have tens of items each (see the evidence). Since no determinant counts, a
    class that is spread widely is near to much: look at `mahalanobis-ood` where one class is a mixed bag. Costs
    n classes d^2 / G operations and classes d^2 / G numbers of memory.

    Args:
        groups: G, at most d; 1 is one Gaussian a class. More leave less to estimate and tell fewer correlations.
        prior: how many items the shared covariance counts for; large makes all classes equally spread, which with
            groups = 1 orders items as `mahalanobis-ood` on unit vectors does.
        shrinkage: towards equal spread in all directions.

    Relations: `mahalanobis-ood` shares one covariance among all classes; `knn` needs no labels.

    Shapes: x [n, d], y [n]; score [n] float32.
    """

    def __init__(
        self,
        *,
        groups: Annotated[int, Field(ge=1, le=4096)] = 32,
        prior: Annotated[float, Field(ge=1e-6, le=1e6)] = 10.0,
        shrinkage: Annotated[float, Field(ge=1e-6, le=1)] = 0.01,
    ) -> None:
        self.groups = groups
        self.prior = prior
        self.shrinkage = shrinkage

    def fit(self, x: Any, y: Any = None) -> Hvcm:
        """Learn means and covariances. Raises `DataError` without labels, for one class, or where no class varies."""
        if y is None:
            raise DataError("hvcm needs labels: call fit(x, y), or use knn, which needs none")
        x = matrix(x)
        classes, codes = labels(y, len(x), least=2)
        d = x.shape[1]
        blocks = np.array_split(_rotation(d), min(self.groups, d), axis=1)
        z, count = unit_rows(x), np.bincount(codes)
        maps, means, halves = [], [], []
        for block in blocks:
            a = z @ block
            mean = np.zeros((len(classes), a.shape[1]))
            np.add.at(mean, codes, a)
            mean /= count[:, None]
            within = a - mean[codes]
            scatter = np.stack([within[codes == c].T @ within[codes == c] for c in range(len(classes))])
            shared = scatter.sum(axis=0) / max(len(x) - len(classes), 1)
            spread = float(np.trace(shared)) / len(shared)
            if spread <= 1e-12:
                raise DataError(
                    "no class has items that differ: a covariance cannot be fitted; give more items a class"
                )
            own = (scatter + self.prior * shared) / (count - 1 + self.prior)[:, None, None]
            shrunk = (1 - self.shrinkage) * own + self.shrinkage * spread * np.eye(len(shared))
            # L^-1 of C = L L^T makes the distance a plain one, and never negative.
            maps.append(block)
            means.append(mean)
            halves.append(np.linalg.inv(np.linalg.cholesky(shrunk)))
        self.classes_, self.maps_, self.means_, self.whiteners_ = classes, maps, means, halves
        return self

    def distances(self, x: Any) -> np.ndarray:
        """[n, classes] float64: sum_g M_cg / (2 G) of every class."""
        if not hasattr(self, "classes_"):
            raise DataError("hvcm has not been fitted yet: call fit(x, y) first")
        x = matrix(x, dim=len(self.maps_[0]))
        out = np.zeros((len(x), len(self.classes_)))
        for start in range(0, len(x), _ROWS):
            z = unit_rows(x[start : start + _ROWS])
            for block, mean, whiten in zip(self.maps_, self.means_, self.whiteners_, strict=True):
                a = z @ block
                for c in range(len(self.classes_)):
                    out[start : start + len(z), c] += (((a - mean[c]) @ whiten[c].T) ** 2).sum(axis=1)
        found: np.ndarray = out / (2 * len(self.maps_))
        return found

    def score(self, x: Any) -> np.ndarray:
        """[n] float32, higher = more unknown."""
        return self.distances(x).min(axis=1).astype(np.float32)

    def predict(self, x: Any) -> np.ndarray:
        """[n] labels: the nearest class."""
        return self.classes_[self.distances(x).argmin(axis=1)]


@functools.lru_cache(maxsize=2)
def _rotation(d: int) -> np.ndarray:
    """[d, d], the same for every d."""
    return np.linalg.qr(np.random.default_rng(_SEED).normal(size=(d, d)))[0]
