"""Both spaces as cosines to the same anchor items."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from tellapart.core.aligning import Aligner, Layer, paired, through
from tellapart.core.parts import part

STEPS = 20


@part(
    paper="Moschella et al., Relative representations enable zero-shot latent space communication, ICLR 2023",
    place="retrieve",
    system="relative-representations",
    traits=("converts",),
    aliases=("relative", "anchors"),
)
class RelativeRepresentations(Aligner):
    """Vectors as their cosines to a fixed set of anchor items, which are the same items in both spaces.

    Formula, for an item of new vector x or old vector y and the anchors' unit vectors A (new) and B (old), [k, d]:

        r_new(x)_j = cos(x, A_j),   r_old(y)_j = cos(y, B_j),   z = unit(r)

    Encoders that were trained apart differ mostly by a map that keeps angles, so both r of one item are nearly equal,
    and what was fitted on or stored as r of one space serves the other: nothing is learnt. The paper's r is used as it
    is by a head; here searches go by cosine, so r is brought to length 1.

    Both spaces move. `transform` is for new vectors, as in every part of this shape; `convert` (trait `converts`) is
    for the old ones. An index is converted from the vectors that it stores, without calling an encoder; it then has as
    many numbers an item as there are anchors. New and old items may stand in one index, because both are r.

    Use it when: two encoders see the same things and differ by seed or width, and pairs are few. Where they differ in
    what they know, a fitted map (`ridge`) has more to go by.

    Args:
        anchors: how many; all the items where there are fewer.
        choose: which items become anchors: drawn at random, those nearest to the centres of k-means, or one by one the
            item farthest from those chosen before. The formula is the same. All go by the new vectors.

    Relations: `procrustes` turns one space into the other where angles are the same.

    Shapes: new [n, d], old [n, d'] in `fit`; `transform` [m, d] and `convert` [m, d'] -> [m, k] float32 of length 1.
    `pairs` is not used.
    """

    def __init__(
        self,
        *,
        anchors: Annotated[int, Field(ge=2, le=8192)] = 300,
        choose: Literal["random", "k-means", "farthest"] = "random",
    ) -> None:
        self.anchors = anchors
        self.choose = choose

    def fit(self, new: Any, old: Any, *, pairs: Any = None, seed: int = 0) -> RelativeRepresentations:
        """Choose the anchors. Raises `DataError` for what are no pairs, or fewer than two of them."""
        x, y = paired(new, old)
        rng = np.random.default_rng(seed)
        k = min(self.anchors, len(x))
        chosen = {"random": _random, "k-means": _near_centres, "farthest": _farthest}[self.choose](x, k, rng)
        self.rows_ = np.sort(chosen).astype(np.int64)
        self.new_, self.old_ = x[self.rows_].astype(np.float32), y[self.rows_].astype(np.float32)
        return self

    def layers(self, side: str = "query") -> list[Layer]:
        """One layer whose rows are the anchors, the same for both sides."""
        return [_cosines(self.learnt("new_"))]

    def convert(self, old: Any) -> np.ndarray:
        """[n, d'] vectors of the old space -> [n, k] float32 unit vectors: what an index is to hold."""
        return through([_cosines(self.learnt("old_"))], old)


def _cosines(anchors: np.ndarray) -> Layer:
    return Layer(anchors, np.zeros(len(anchors), np.float32))


def _random(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(len(x), k, replace=False)


def _near_centres(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """The items nearest to the centres that Lloyd's steps give, each once."""
    centres = x[rng.choice(len(x), k, replace=False)]
    for _ in range(STEPS):
        of = (x @ centres.T - (centres**2).sum(1) / 2).argmax(1)
        count = np.bincount(of, minlength=k)
        sums = np.zeros_like(centres)
        np.add.at(sums, of, x)
        centres = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], centres)
    near, chosen = x @ centres.T - (centres**2).sum(1) / 2, np.empty(k, np.int64)
    for j in range(k):
        chosen[j] = near[:, j].argmax()
        near[chosen[j]] = -np.inf
    return chosen


def _farthest(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """One by one the item whose greatest cosine to those chosen is least; the first is drawn."""
    chosen = np.empty(k, np.int64)
    chosen[0] = rng.integers(len(x))
    nearest = x @ x[chosen[0]]
    for j in range(1, k):
        nearest[chosen[:j]] = np.inf
        chosen[j] = nearest.argmin()
        nearest = np.maximum(nearest, x @ x[chosen[j]])
    return chosen
