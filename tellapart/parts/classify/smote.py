"""Synthetic items for small classes, before a classifier is fitted."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import labels, matrix
from tellapart.core.nearest import nearest
from tellapart.core.parts import make, part

MOST = 1 << 27
ROWS = 2048


@part(
    paper="Chawla, Bowyer, Hall, Kegelmeyer, SMOTE: Synthetic Minority Over-sampling Technique, JAIR 2002",
    place="pairs",
    system="smote",
    needs=("sklearn",),
)
class Smote:
    """Small classes are filled up with points between neighbours of theirs; then another classifier is fitted.

    Formula, for an item x of a class below its wanted size and one of its `k` nearest neighbours x' within the class
    (Euclidean), drawn uniformly::

        x + u (x' - x),    u uniform in [0, 1), one for all numbers of the point

    The largest class of n items counts as cap = `under` n; larger classes are drawn down to cap at random, and those
    below `ratio` cap are filled up to it. Each of a class's items is the x of equally many points; what is left over
    goes to some of them at random.

    Use it where some classes have few items and are to be found all the same: recall of small classes rises at the cost
    of the large ones. A cut-off moved on validation data, or weights, often do as well; compare with `k=0`. In many
    dimensions neighbours are far apart and the points lie inside the class, so that little is gained for linear
    classifiers.

    The paper draws u anew for every number in its pseudo-code and speaks of a point on the line in its text; here it is
    the line, as in most later work. It gives N% synthetic items for each class; here sizes follow from the largest
    class, so that several classes have one option. `balance` gives the points themselves. Its variants for columns of
    names (SMOTE-NC, SMOTE-N) are not here: items are vectors.

    Args:
        inner: the classifier that is fitted, by spec.
        k: neighbours; 0 repeats items as they are (random over-sampling), as does a class of one item.
        ratio: size that small classes are filled up to, as a share of the largest; 0 makes no points.
        under: share of the largest class that is kept; 1 draws nobody out.
        seed: of the draws; the order of the items does not matter.

    Shapes: x [n, d], y [n] words or numbers; `predict_proba` [n, classes] float32 in the order of `classes_`. Raises
    `DataError` for unusable features or labels, and where more points are wanted than memory should hold.

    Relations: any `classify` part can be `inner`; `mochi` mixes hard negatives while an encoder is trained.
    """

    def __init__(
        self,
        *,
        inner: str = "logistic-regression",
        k: Annotated[int, Field(ge=0, le=10_000)] = 5,
        ratio: Annotated[float, Field(ge=0, le=1)] = 1.0,
        under: Annotated[float, Field(gt=0, le=1)] = 1.0,
        seed: Annotated[int, Field(ge=0, le=2147483647)] = 0,
    ) -> None:
        self.inner, self.k, self.ratio, self.under, self.seed = inner, k, ratio, under, seed

    def fit(self, x: Any, y: Any) -> Smote:
        """Balance the classes and fit the inner classifier on them."""
        self.inner_ = make("classify", self.inner).fit(*self.balance(x, y))
        self.classes_ = self.inner_.classes_
        return self

    def balance(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """([m, d] float64, [m] labels): class by class what is kept of it, then points in rounds of its items."""
        x = matrix(x)
        classes, codes = labels(y, len(x), least=2)
        sizes = np.bincount(codes)
        cap = max(1, round(self.under * int(sizes.max())))
        wanted = np.maximum(np.minimum(sizes, cap), round(self.ratio * cap))
        if int(wanted.sum()) * x.shape[1] > MOST:
            raise DataError(
                f"smote would make {len(classes)} classes into {int(wanted.sum()):,} items of {x.shape[1]} numbers, "
                f"more than {MOST:,} numbers in all: lower ratio={self.ratio:g} or under={self.under:g}"
            )
        pieces = []
        for code, size in enumerate(wanted):
            own = x[codes == code]
            own = own[np.lexsort(own.T[::-1])]
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, code]))
            if size <= len(own):
                pieces.append(own[np.sort(rng.permutation(len(own))[:size])])
            else:
                pieces += [own, self._between(own, int(size) - len(own), rng)]
        return np.concatenate(pieces), np.repeat(classes, wanted)

    def _between(self, own: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """[count, d] points between items of one class and their neighbours."""
        n = len(own)
        base = np.concatenate([np.tile(np.arange(n), count // n), rng.permutation(n)[: count % n]])
        k = min(self.k, n - 1)
        if k == 0:
            return own[base]
        rows, place = np.unique(base, return_inverse=True)
        other = _neighbours(own, rows, k)[place, rng.integers(k, size=count)]
        return own[base] + rng.random((count, 1)) * (own[other] - own[base])

    def predict_proba(self, x: Any) -> np.ndarray:
        """[n, classes] float32."""
        return np.asarray(self._fitted().predict_proba(x))

    def predict(self, x: Any) -> np.ndarray:
        """[n] labels."""
        return np.asarray(self._fitted().predict(x))

    def _fitted(self) -> Any:
        if not hasattr(self, "inner_"):
            raise DataError("smote has not been fitted yet: call fit(x, y) first")
        return self.inner_


def _neighbours(own: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """[rows, k] the nearest others of some rows: of a row z, those of greatest z·w - |w|^2 / 2."""
    z = own - own.mean(axis=0)
    left = np.hstack([z, np.ones((len(z), 1))]).astype(np.float32)
    right = np.hstack([z, -0.5 * (z**2).sum(axis=1, keepdims=True)]).astype(np.float32)
    found = []
    for start in range(0, len(rows), ROWS):
        these = rows[start : start + ROWS]
        near = nearest(left[these], [right], k + 1)[1]
        # Among many equal vectors a row may not have found itself: then the last goes.
        itself = near == these[:, None]
        itself[~itself.any(axis=1), -1] = True
        found.append(near[~itself].reshape(len(these), k))
    return np.concatenate(found)
