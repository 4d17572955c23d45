"""The triplet alignment loss: a triplet loss over all negatives at once."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from tellapart.core.encoded import Encoded
from tellapart.core.maths import Positives, scores_and_logsumexp
from tellapart.core.parts import part


@part(
    paper="Qin, Chen, Peng, Peng, Zhou, Hu: Noisy-Correspondence Learning for Text-to-Image Person Re-identification, "
    "CVPR 2024",
    place="objective",
    system="rde",
    traits=("rowwise",),
    needs=("torch",),
    aliases=("tal",),
)
def triplet_alignment(
    enc: Encoded,
    *,
    margin: Annotated[float, Field(ge=0, le=4)] = 0.1,
    temperature: Annotated[float, Field(gt=0, le=100)] = 0.015,
) -> Tensor:
    """Hinge between a row's positives and the soft maximum of all its negatives.

    Formula, for row i with scores s, positives p of weight v, negatives j of weight w, margin m, temperature T::

        L_i = max(0, m - sum_p a_p s_p + T log sum_j w_j exp(s_j / T)),
        a_p = v_p exp(s_p / T) / sum_p' v_p' exp(s_p' / T), without gradient

    The soft maximum is at least the hardest negative's score (of weight 1), and nears it as T falls: the loss is above
    that of the hardest triplet, and its gradient is spread over all negatives, as InfoNCE spreads it. Of several
    positives those that score high have most of the gradient. Margin and temperature are those of the authors' code,
    which sums both directions of a pair.

    Inputs: a block of rows against all columns; gives [n] losses >= 0 in units of a score. A row without a positive,
    or without a negative, gives 0 and no gradient.

    The paper's for wrong pairs, together with the strategy `rde`, which leaves those out by their losses. By itself it
    is below `infonce` in all comparisons recorded here, with and without wrong pairs: compare before you take it.

    Relations:
        - `triplet-hardest` is its limit for T towards 0 with one positive; it overfits wrong pairs soonest.
        - `infonce` is T times smoother at the margin: softplus where this has a hinge, and no margin.
    """
    at = enc.rel.positives
    positive, negatives = scores_and_logsumexp(enc.sim, at, enc.rel.neg, temperature)
    with torch.no_grad():
        top = positive.new_full((len(at.total),), -torch.inf).scatter_reduce(0, at.row, positive, "amax")
        share = at.weight.to(positive.dtype) * (positive - top[at.row]).exp()
    aligned = Positives.of(at.row, at.col, share, len(at.total)).mean(positive)
    some = at.has & negatives.isfinite()
    gap = torch.where(some, negatives, 0.0) - aligned
    margin, temperature = (x.flatten() if isinstance(x, Tensor) else x for x in (margin, temperature))
    return torch.where(some, (margin + temperature * gap).clamp_min(0.0), 0.0)
