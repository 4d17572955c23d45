"""A picture changed in words finds what comes out: the plain in-batch loss over a learnt combination."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.parts import part
from tellapart.parts.strategy._composer import Gated, check_composed, contrast, made, triplets


@part(
    paper="Baldrati, Bertini, Uricchio, Del Bimbo: Conditioned and composed image retrieval combining and partially "
    "fine-tuning CLIP-based features, CVPR workshops 2022",
    place="train",
    traits=("sides", "composed"),
    needs=("torch",),
)
class Combiner(nn.Module):
    """A reference picture and what is to change find the picture that comes out ("this, but red").

    Formula, for reference, words and target with vectors r, t and z of length 1 and d numbers::

        q = (g r + (1 - g) t + W2 h + b2), brought to length 1
        h = relu(W1 [r, t] + b1),  g = sigmoid(a h + c)
        L = mean_i l(q_i; right: z_i; wrong: the other targets of the batch)

    with l the recipe's objective. References and targets go through one tower, so that any item of an index can be the
    reference. All targets that training gives for one reference and words are right for them, in one batch. A row
    without a reference has q = t. The module begins as the sum of both (g = 1/2, the rest 0).

    The paper's combiner has a projection before each vector, which the heads of the towers are here, and more dropout.

    Use it first for composed queries: it is what `spn4cir` and `magiclens` are compared with. Columns: `other_image`,
    `text`, `image`. Words alone are then the question of a change without a picture, which finds little.

    Args:
        hidden: width of the hidden layer.

    Raises `PartError` for data without references, and with a guide.
    """

    joins = "composer"

    def __init__(self, *, hidden: Annotated[int, Field(ge=1, le=8192)] = 512) -> None:
        super().__init__()
        self.hidden = hidden

    def begin(self, run: Any) -> None:
        """Make the combiner."""
        check_composed(run, "combiner")
        self.composer = made(run, lambda: Gated(run.dim(), self.hidden))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The loss of a batch of row numbers [n]."""
        found = triplets(run, batch)
        return {"query": contrast(run, batch, self.composer(found.r, found.t, found.there), found.z)}

    def after(self, run: Any) -> None:
        """Nothing to keep."""
