"""Reference and words are fused by attention, and the reference as it is counts as a wrong answer."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.encoded import Encoded
from tellapart.core.parts import part
from tellapart.core.relation import Relation
from tellapart.parts.strategy._composer import Attentive, check_composed, made, right, triplets


@part(
    paper="Zhang, Luan, Hu, Lee, Qiao, Chen, Su, Chang: MagicLens: Self-Supervised Image Retrieval with Open-Ended "
    "Instructions, ICML 2024",
    place="train",
    system="magiclens",
    traits=("sides", "composed"),
    needs=("torch",),
)
class Magiclens(nn.Module):
    """Picture and instruction are fused by attention, and giving the picture back unchanged is punished.

    Formula, for references r, words t and targets z, vectors of length 1 and d numbers::

        q = (r + W pool(S([E r, E t]))), brought to length 1
        L = mean_i l(q_i; right: z_i; wrong: the other targets z_j, and all references r_j of the batch, its own too)

    with l the recipe's objective (the paper's is `infonce`). E enters `width` numbers, adding a learnt vector for the
    picture and one for the words; S is `layers` layers of self-attention (norms first, four times wider inside); `pool`
    is attention of one learnt query over both tokens. The wrong r_j are pictures with the empty instruction; with
    `weight=0` they are left out. A reference that is a right answer of the question is no negative; all right
    targets are positive.

    The paper fuses (picture, empty text) with the same module for what is searched. Here a picture without words is its
    own vector, by the form `r + ...`, which exists for that: so any index of plain picture vectors serves, and any item
    of it is a reference as it lies there. Two tokens stand for the tokens of both encoders, which are frozen here; the
    paper has four layers. Its 36.7 million triplets of web pages, with instructions of a language model, are not here:
    `tellapart.data.triplets.mined` makes rows of captions. That all references of the batch are negatives, not only the
    own one, is as the paper's formula is remembered and could not be read again; the released model is for use, without
    its training.

    Use it where a search tends to give the reference back. A row without a reference has q = t and adds no negative.

    Args:
        weight: of the references among the negatives; 0: none.
        width, layers, heads: of the fusion; `heads` divides `width`.

    Raises `PartError` for data without references, with a guide, and for heads that do not divide the width.

    Relations: `combiner` has a hidden layer in place of attention, and no such negatives; `spn4cir` has the reference
    among its negatives because it has every picture.
    """

    joins = "composer"

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, le=100)] = 1.0,
        width: Annotated[int, Field(ge=1, le=8192)] = 256,
        layers: Annotated[int, Field(ge=1, le=24)] = 2,
        heads: Annotated[int, Field(ge=1, le=64)] = 4,
    ) -> None:
        super().__init__()
        self.weight, self.width, self.layers, self.heads = weight, width, layers, heads

    def begin(self, run: Any) -> None:
        """Make the fusion."""
        check_composed(run, "magiclens")
        self.composer = made(run, lambda: Attentive(run.dim(), self.width, self.layers, self.heads))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The loss of a batch of row numbers [n]."""
        found = triplets(run, batch)
        q = self.composer(found.r, found.t, found.there)
        target, own = (run.gather(numbers.contiguous()) for numbers in found.picture.unbind(1))
        pos, neg = right(run, batch, torch.cat([target, own]))
        # A picture that stands in the batch as a target is not positive once more as a reference.
        pos[:, len(target) :] = 0.0
        neg[:, len(target) :] *= self.weight
        enc = Encoded(q, torch.cat([run.gather(found.z), run.gather(found.r)]), Relation(pos, neg))
        return {"query": run.loss_of(enc, run.keys(batch).item)}

    def after(self, run: Any) -> None:
        """Nothing to keep."""
