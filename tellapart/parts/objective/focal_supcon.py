"""Supervised contrast that looks at the positives which are not yet close."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from tellapart.core.encoded import Encoded
from tellapart.core.maths import scores_and_logsumexp
from tellapart.core.parts import part


@part(
    paper="Zhang, Hooi, Hu, Liang, Feng: Unleashing the Power of Contrastive Self-Supervised Visual Models via "
    "Contrast-Regularized Fine-Tuning, NeurIPS 2021",
    place="objective",
    system="core-tuning",
    traits=("rowwise",),
    needs=("torch",),
)
def focal_supcon(enc: Encoded, *, temperature: Annotated[float, Field(gt=0, le=100)] = 0.07) -> Tensor:
    """Supervised contrast whose positives weigh the less, the likelier they are already.

    Formula, for row i with scores s, positives p of weight v, negatives j of weight w, temperature T::

        Z_i = sum_q v_q exp(s_q / T) + sum_j w_j exp(s_j / T)
        L_i = sum_p v_p / sum(v) * -(1 - exp(s_p / T) / Z_i) * log( exp(s_p / T) / Z_i )

    The factor has a gradient, as in the authors' code. That divides by the number of columns where the paper divides
    by that of the positives, as is done here; weights are not in the paper.

    Inputs: a block of rows against all columns; gives [n] losses >= 0. A row without a positive gives
    0 and no gradient.

    Recommended for labels with few items a class in a batch: a single close positive has a probability near 1 and then
    no say. With many positives none is ever likely, and it is nearly `supcon`.

    Relations:
        - `supcon` is it without the factor.
        - `core-tuning` is the strategy that it was made for.
    """
    at = enc.rel.positives
    positive, everything = scores_and_logsumexp(enc.sim, at, enc.rel.pos + enc.rel.neg, temperature)
    log_share = positive - everything[at.row]
    return torch.where(at.has, at.mean(log_share.expm1() * log_share), 0.0)
