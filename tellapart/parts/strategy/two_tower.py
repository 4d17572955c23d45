from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from tellapart.core.parts import part


@part(
    paper="(plain baseline; Henderson et al., Efficient Natural Language Response Suggestion for Smart Reply, 2017)",
    place="train",
    needs=("torch",),
    aliases=("dual-encoder",),
)
class TwoTower(nn.Module):
    """Two networks meet in one space; every other pair of the batch is a negative.

    The query tower and the document tower encode their sides of the batch; the recipe's objective is taken with the
    queries as rows and, when the recipe says `both_ways`, also with the documents as rows; the loss is their mean.
    Where both sides are one column (pictures with labels) there is one tower and one direction.

    Use it first: it is what every other strategy is compared with.
    """

    def begin(self, run: Any) -> None:
        """Nothing to prepare."""

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n], by name."""
        q = run.encode("query", batch)
        if run.data.same_space:
            return {"query": run.contrast(run.pairing(q, q, batch))}
        k = run.encode("document", batch)
        query = run.contrast(run.pairing(q, k, batch))
        if not run.recipe.both_ways:
            return {"query": query}
        document = run.contrast(run.pairing(k, q, batch, reverse=True))
        return {"query": query / 2, "document": document / 2}

    def after(self, run: Any) -> None:
        """Nothing to keep."""
