from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from tellapart.core.maths import unit
from tellapart.core.parts import part
from tellapart.parts.strategy._proxies import against, laid_out


@part(
    paper="(plain baseline; Wang, Xiang, Cheng, Yuille, NormFace: L2 Hypersphere Embedding for Face Verification, "
    "ACM Multimedia 2017)",
    place="train",
    needs=("torch",),
    aliases=("normalised-softmax",),
)
class ClassProxies(nn.Module):
    """One learnt vector a class; every item is told from the vectors of the other classes.

    Rows are the towers' vectors of the batch, columns the unit vectors of all classes, which train beside the towers
    from a random start. A row's class vector is its positive, all others are negatives; the loss is the recipe's
    objective. Where a collection has two sides they share the class vectors, and the loss is the mean of both.

    The classes are the labels of the training rows; in a collection of pairs without labels every pair is its own
    class, which is slow to learn and seldom of use. All classes count at every step, so that batches may be small.

    When to use: labelled collections with many items a class; `objective="cosface"` for a margin.
    Mined negatives and guides are not looked at.

    Relations: `supcon` pulls items to items instead; `unpg` adds pairs of the batch as negatives.
    """

    def begin(self, run: Any) -> None:
        """Draw the class vectors."""
        self.vectors, self._keys = laid_out(run, "class-proxies")

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        sides = ["query"] if run.data.same_space else ["query", "document"]
        columns = unit(self.vectors)
        return {s: against(run, run.encode(s, batch), batch, columns, self._keys) / len(sides) for s in sides}

    def after(self, run: Any) -> None:
        """Nothing to keep."""
