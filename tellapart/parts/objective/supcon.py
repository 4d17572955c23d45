"""Supervised contrastive learning."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from tellapart.core.encoded import Encoded
from tellapart.core.maths import scores_and_logsumexp
from tellapart.core.parts import part


@part(
    paper="Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan: Supervised Contrastive Learning, "
    "NeurIPS 2020",
    place="objective",
    traits=("rowwise",),
    needs=("torch",),
)
def supcon(enc: Encoded, *, temperature: Annotated[float, Field(gt=0, le=100)] = 0.07) -> Tensor:
    """Cross entropy of each positive among all other entries, the other positives included (the paper's L_out).

    Formula, for row i with scores s, positives p of weight v, negatives j of weight w, temperature T::

        L_i = sum_p v_p / sum(v) * -log( exp(s_p / T) / (sum_q v_q exp(s_q / T) + sum_j w_j exp(s_j / T)) )

    The mean over positives stands outside the logarithm, which the paper found better than inside. Weights are not in
    the paper: a positive's weight counts in the mean and in the denominator alike.

    Inputs: a block of rows against all columns; gives [n] losses. With several positives the least possible loss is
    the logarithm of their number, not 0. A row without a positive gives 0 and no gradient.

    Recommended for labels, where a row has many positives: each pulls the row, and those already close are not pulled
    further at the cost of the others. The paper's temperature is 0.1 (0.07 in its code).

    Relations:
        - `infonce` takes each positive against the negatives alone; with one positive of weight 1 the two are equal.
    """
    at = enc.rel.positives
    positive, everything = scores_and_logsumexp(enc.sim, at, enc.rel.pos + enc.rel.neg, temperature)
    return torch.where(at.has, everything - at.mean(positive), 0.0)
