"""Items that both their picture and their text place among the neighbours of a few seeds."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.parts import part

_ROWS = 2048


@part(
    paper="Jia et al., VisualWebInstruct: Scaling up Multimodal Instruction Data through Web Search, arXiv 2025",
    place="curate",
    system="visualwebinstruct",
    traits=("target", "layers"),
    aliases=("visualwebinstruct",),
)
class SeedExpansion:
    """Expand a few seeds by similarity, and put first what is near them on every side.

    Formula, for item x with sides m (its picture, its text), unit vectors, and seeds s::

        near_m(x)  = mean of the `k` largest cosines of x with the seeds, on side m
        rank_m(x)  = (1 + pool items whose near_m is above near_m(x)) / (1 + items of the pool)
        agree(x)   = seeds that are among the `k` nearest of x on all sides, divided by k
        score(x)   = - log max_m rank_m(x) + `agreement` * agree(x).  Higher = more like the seeds.

    An item that is nearer than all of the pool by some x has its rank divided by 1 + x, so that such items differ. The
    worst rank counts: what one side alone takes for a neighbour, such as another thing drawn alike, or another thing
    of that name, comes after what both do. `agreement` says what it is worth that both sides also name the same seeds;
    it moves items of similar ranks. With one side it is expansion by that side, in the order of `near`.

    What was taken: the first and the last step of the paper, which finds pages by pictures like 30,000 seed pictures
    and keeps answers on which several readings agree. In place of a web search there is a pool with vectors of its
    own, in place of agreeing answers there are agreeing sides; the formula is ours. Taking questions and answers out
    of pages, which needs a language model, is left out: give the pool as items. It adds no item that the pool lacks.

    Use it where neither side alone is known to be the better one. In our record it was 15 times as much on topic as a
    random selection on WordNet and 4 times on drawings, better than the worse side alone, and worse than the better
    side: names for drawings, glosses for nouns; topics were told by words there. `agreement` showed no difference. So
    look at what each side gives alone first. Seeds of several topics are served by small `k`, of one by larger ones.

    Relations: `dsir` and `color-filter` look for texts like many others by their words alone; `knn` is the distance to
    the k-th stored item, on one side.

    Shapes: x [n, d], or a list of such blocks, one a side; y [n] true for seeds, false for the pool; score [n] float32.
    An item that is itself a seed is its own neighbour. Raises `DataError` where seeds or pool are missing.
    """

    def __init__(
        self,
        *,
        k: Annotated[int, Field(ge=1, le=10_000)] = 3,
        agreement: Annotated[float, Field(ge=0, le=100)] = 1.0,
    ) -> None:
        self.k = k
        self.agreement = agreement

    def fit(self, x: Any, y: Any = None) -> SeedExpansion:
        """Keep the seeds, and how near the items of the pool are to them."""
        if y is None:
            raise DataError("seed-expansion must know the seeds: fit(x, y) with y true for seeds, false for the pool")
        blocks = [unit_rows(block) for block in _sides(x)]
        marks = np.asarray(list(y))
        if marks.ndim != 1 or len(marks) != len(blocks[0]) or not np.isin(marks, (0, 1)).all():
            raise DataError("every item needs one mark in y: true (seed) or false (pool)")
        marks = marks.astype(bool)
        if marks.all() or not marks.any():
            raise DataError(f"the {'pool' if marks.all() else 'list of seeds'} is empty: give both, marked in y")
        self.seeds_ = [block[marks] for block in blocks]
        self.near_ = np.sort([self._near(block[~marks], side)[0] for side, block in enumerate(blocks)], axis=1)
        return self

    def score(self, x: Any) -> np.ndarray:
        """[n] float32, higher = more like the seeds."""
        if not hasattr(self, "seeds_"):
            raise DataError("seed-expansion has not been fitted yet: call fit(x, y) first")
        blocks = _sides(x)
        if len(blocks) != len(self.seeds_):
            raise DataError(f"{len(self.seeds_)} sides were fitted, and these items have {len(blocks)}")
        pool = self.near_.shape[1]
        worst = np.zeros(len(blocks[0]))
        common = np.ones((len(worst), len(self.seeds_[0])), dtype=bool)
        for side, block in enumerate(blocks):
            block = unit_rows(matrix(block, dim=self.seeds_[side].shape[1]))
            near, among = self._near(block, side)
            above = pool - np.searchsorted(self.near_[side], near, side="right")
            beyond = np.maximum(near - self.near_[side, -1], 0)
            worst = np.maximum(worst, (1 + above) / (1 + pool) / (1 + beyond))
            common &= among
        agree = common.sum(axis=1) / min(self.k, common.shape[1])
        return (self.agreement * agree - np.log(worst)).astype(np.float32)

    def _near(self, block: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
        """([n] mean cosine with the k nearest seeds, [n, seeds] which those are; of equals, the first)."""
        seeds = self.seeds_[side]
        near, among = np.empty(len(block)), np.zeros((len(block), len(seeds)), dtype=bool)
        for start in range(0, len(block), _ROWS):
            rows = slice(start, start + _ROWS)
            # Rounded, so that an item has the same rank whatever stands beside it in the product.
            cosines = np.round(block[rows] @ seeds.T, 9)
            nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : self.k]
            near[rows] = np.round(np.take_along_axis(cosines, nearest, 1).mean(axis=1), 9)
            np.put_along_axis(among[rows], nearest, True, axis=1)
        return near, among


def _sides(x: Any) -> list[np.ndarray]:
    """A list of one [n, d] block for each side."""
    blocks = [matrix(each) for each in (x if isinstance(x, list | tuple) and len(x) else [x])]
    if len({len(block) for block in blocks}) > 1:
        raise DataError(f"the sides hold {', '.join(str(len(b)) for b in blocks)} items; every item needs all of them")
    return blocks
