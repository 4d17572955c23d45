"""Pairs whose documents are shaken at first: about where the answer is, and then which it is."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.parts import part
from tellapart.parts.strategy._jittered import coarseness, shaken


@part(
    paper="Chen, Zheng, Ji, Qu, Chua: Composed Image Retrieval with Text Feedback via Multi-grained Uncertainty "
    "Regularization, ICLR 2024",
    place="train",
    needs=("torch",),
)
class MurPairs(nn.Module):
    """Plain pairs by the loss of `mur-cir`: documents are shaken at first, and counted as they are towards the end.

    Formula, for queries q, documents z of length 1, f' and S made of them as in `mur-cir`, and l the recipe's
    objective, in both directions where the recipe says so::

        L = g (exp(-S) l(q, f') + S) / 2 + (1 - g) l(q, z),   g = exp(-decay step / steps)

    The paper has composed queries alone; its loss does not look at what a query is made of. Relations, mined negatives
    and a guide of the recipe hold for both terms. Of one side, the item itself is the shaken document.

    Use it where one query has several right documents of which training names one. It costs a second loss a step.

    Args:
        decay: how fast g falls; 0: never. strength: of the shaking; 0: none. length: of the vectors that are shaken.

    Relations: `two-tower` is g = 0, its baseline; `mur-cir` says what was taken from the authors' code.
    """

    def __init__(
        self,
        *,
        decay: Annotated[float, Field(ge=0, le=100)] = 1.0,
        strength: Annotated[float, Field(ge=0, le=100)] = 1.0,
        length: Annotated[float, Field(gt=0, le=100)] = 4.0,
    ) -> None:
        super().__init__()
        self.decay, self.strength, self.length = decay, strength, length

    def begin(self, run: Any) -> None:
        """Nothing to prepare."""

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        q = run.encode("query", batch)
        z = q if run.data.same_space else run.encode("document", batch)
        about = shaken(run, batch, z, length=self.length, strength=self.strength)
        share = coarseness(run, self.decay)
        coarse, fine = (self._contrast(run, batch, q, k) for k in (about.z, z))
        return {"coarse": share * about.regularised(coarse), "fine": (1 - share) * fine}

    @staticmethod
    def _contrast(run: Any, batch: np.ndarray, q: Tensor, k: Tensor) -> Tensor:
        loss: Tensor = run.contrast(run.pairing(q, k, batch))
        if run.recipe.both_ways and not run.data.same_space:
            loss = (loss + run.contrast(run.pairing(k, q, batch, reverse=True))) / 2
        return loss

    def after(self, run: Any) -> None:
        """Nothing to keep."""
