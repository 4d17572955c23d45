"""InfoNCE: tell the positive from the negatives."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from tellapart.core.encoded import Encoded
from tellapart.core.maths import scores_and_logsumexp, softplus
from tellapart.core.parts import part


@part(
    paper="van den Oord, Li, Vinyals: Representation Learning with Contrastive Predictive Coding, arXiv 2018",
    place="objective",
    traits=("rowwise",),
    needs=("torch",),
    aliases=("mnrl", "ntxent"),
)
def infonce(enc: Encoded, *, temperature: Annotated[float, Field(gt=0, le=100)] = 0.07) -> Tensor:
    """Cross entropy of picking a row's positive among its negatives.

    Formula, for row i with scores s, positives p of weight v, negatives j of weight w, temperature T::

        L_i = sum_p v_p / sum(v) * -log( exp(s_p / T) / (exp(s_p / T) + sum_j w_j exp(s_j / T)) )

    Inputs: a block of rows against all columns; gives [n] losses >= 0 without unit. A row without a positive, or
    without a negative, gives 0 and no gradient. The paper has one positive; several never stand in each other's
    denominators here, so that no positive is pushed away for the sake of another.

    Recommended as the first objective to try: one positive a row and many in-batch negatives. A lower temperature
    looks only at the hardest negatives and suffers more from false ones; 0.01 to 0.1 is usual on unit vectors.

    Relations:
        - `dcl` leaves the positive out of the denominator, which helps small batches.
        - `supcon` puts all positives of the row into the denominator; made for labels.
        - `sigmoid` judges every pair by itself and needs no sum over the row.
        - With two views as rows and columns it is SimCLR's NT-Xent; with texts it is sentence-transformers' multiple
          negatives ranking loss (whose `scale` is 1 / temperature); with images and texts, CLIP's.
        - False negatives are taken out by `relate` parts such as `gist-embed` or `drop-near-positive`.
    """
    at = enc.rel.positives
    positive, negatives = scores_and_logsumexp(enc.sim, at, enc.rel.neg, temperature)
    return at.mean(softplus(negatives[at.row] - positive))
