from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.parts import part

Weight = Annotated[float, Field(ge=0, le=100)]


@part(
    paper="Baqapuri: Deep Learning Applied to Image and Text Matching, MSc thesis, arXiv:1601.03478, 2015",
    place="train",
    system="img-text-ranking",
    needs=("torch",),
    aliases=("img-text-ranking",),
)
class SideWeights(nn.Module):
    """Which side the negatives come from: wrong documents for a query, wrong queries for a document, or both by weight.

    Formula, with the recipe's objective L over rows against columns, q queries and k documents of a batch::

        loss = (query L(q, k) + document L(k, q)) / (query + document)

    Where texts look for pictures, `query` weighs the loss whose negatives are wrong pictures, which trains image
    search, and `document` the one whose negatives are wrong texts, which trains annotation. With `document=0` only the
    first is taken, and half of the scores are never computed; with equal weights it is `two-tower`.

    The thesis's L is the global ranking loss, the sum over wrong items j of max(0, margin - s_ip + s_ij): that is
    `triplet`, which is its mean, over all of the batch, where the thesis draws some wrong items anew for each step.
    `triplet-hardest` takes the hardest one only. Its point is that the side of the negatives specialises the search:
    one direction is to gain what the other loses.

    Args:
        query: weight of queries looking for their documents.
        document: weight of documents looking for their queries.

    Raises `PartError` where both sides are one column, where the recipe is not `both_ways`, or with both weights 0.

    Use it where only one direction will be served.

    Relations: `two-tower` weighs both alike, and with `both_ways=false` is this with `document=0`.
    """

    def __init__(self, *, query: Weight = 1.0, document: Weight = 0.0) -> None:
        super().__init__()
        self.query, self.document = query, document

    def begin(self, run: Any) -> None:
        """Refuse what has no two directions."""
        if run.data.same_space:
            raise PartError("side-weights needs two sides that look for each other, and here both are one column")
        if not run.recipe.both_ways:
            raise PartError("side-weights says itself how much each direction counts: leave both_ways as it is")
        if not self.query + self.document:
            raise PartError("side-weights(query=0, document=0) trains nothing: give one of them a weight")

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n], by the side that looks for the other."""
        weight = {side: getattr(self, side) / (self.query + self.document) for side in ("query", "document")}
        z = {side: run.encode(side, batch) for side in weight}
        other = {"query": "document", "document": "query"}
        return {
            side: share * run.contrast(run.pairing(z[side], z[other[side]], batch, reverse=side == "document"))
            for side, share in weight.items()
            if share
        }

    def after(self, run: Any) -> None:
        """Nothing to keep."""
