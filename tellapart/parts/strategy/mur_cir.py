"""Composed queries that begin with about where the answer is, and end with which it is."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.parts import part
from tellapart.parts.strategy._composer import Gated, check_composed, contrast, made, triplets
from tellapart.parts.strategy._jittered import coarseness, shaken


@part(
    paper="Chen, Zheng, Ji, Qu, Chua: Composed Image Retrieval with Text Feedback via Multi-grained Uncertainty "
    "Regularization, ICLR 2024",
    place="train",
    system="mur-cir",
    traits=("sides", "composed"),
    needs=("torch",),
)
class MurCir(nn.Module):
    """A change in words has many right answers: targets are shaken at first, and counted as they are towards the end.

    Formula, for queries q of reference and words as in `combiner`, targets z of length 1 and d numbers, and x = length
    times z with mean m and deviation s over its own d numbers, all below number by number::

        f' = alpha (x - m) / s + beta,   alpha ~ N(1, strength s),  beta ~ N(m, strength s)
        L_u = (exp(-S) l(q; right: f'_i; wrong: the other f'_j) + S) / 2,   S the deviation of all numbers of all f'
        L = g L_u + (1 - g) l(q; right: z_i; wrong: the other z_j),   g = exp(-decay step / steps)

    with l the recipe's objective. So the search is not pushed away from what lies near the one answer that training
    gives until it knows roughly where to look. `decay=0` is the shaking alone, to the end.

    Read in the authors' code, and taken from it: statistics are each vector's own, not the batch's; vectors have length
    4 (`length`), which sets the noise: s is about length / sqrt(d); g falls to exp(-decay) by epochs, here by steps.
    As each vector is whitened, S is near 1 whatever is learnt, and so L_u is the shaken loss times about 0.18.
    Different: objectives see directions, so f' is brought to length 1 and both losses have one temperature; the code
    takes products of vectors as long as they come out, of which f' has about sqrt(d), and so the shaken loss is
    sharper there. With d of 128 numbers instead of 512 the same noise is twice as large beside its vector. As 0.18 g is
    soon less than 1 - g, the unshaken loss rules from about a sixth of the steps on; the evidence has the shaking alone
    beside it.

    Use it where words leave much open ("in another colour") and the first page counts more than the first answer: the
    paper gains at 50 answers. Try `decay=0` first: on changed drawings it found more than `combiner`, most of all among
    ten answers and with few rows, and the schedule took that away. Options for the module as in `combiner`. Columns:
    `other_image`, `text`, `image`.

    Args:
        decay: how fast g falls; 0: never. strength: of the shaking; 0: none. length: of the vectors that are shaken.
        hidden: width of the hidden layer of the module.

    Raises `PartError` for data without references, and with a guide.

    Relations: `combiner` is g = 0, its baseline; `mur-pairs` is this for plain pairs; `feature-noise` moves queries,
    with no schedule.
    """

    joins = "composer"

    def __init__(
        self,
        *,
        decay: Annotated[float, Field(ge=0, le=100)] = 1.0,
        strength: Annotated[float, Field(ge=0, le=100)] = 1.0,
        length: Annotated[float, Field(gt=0, le=100)] = 4.0,
        hidden: Annotated[int, Field(ge=1, le=8192)] = 512,
    ) -> None:
        super().__init__()
        self.decay, self.strength, self.length, self.hidden = decay, strength, length, hidden

    def begin(self, run: Any) -> None:
        """Make the module."""
        check_composed(run, "mur-cir")
        self.composer = made(run, lambda: Gated(run.dim(), self.hidden))

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        found = triplets(run, batch)
        q = self.composer(found.r, found.t, found.there)
        about = shaken(run, batch, found.z, length=self.length, strength=self.strength)
        share = coarseness(run, self.decay)
        coarse = share * about.regularised(contrast(run, batch, q, about.z))
        return {"coarse": coarse, "fine": (1 - share) * contrast(run, batch, q, found.z)}

    def after(self, run: Any) -> None:
        """Nothing to keep."""
