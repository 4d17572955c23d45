"""Decoupled contrastive learning: InfoNCE without the positive in the denominator."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from tellapart.core.encoded import Encoded
from tellapart.core.maths import scores_and_logsumexp
from tellapart.core.parts import part


@part(
    paper="Yeh, Hong, Hsu, Liu, Chen, LeCun: Decoupled Contrastive Learning, ECCV 2022",
    place="objective",
    system="dcl",
    traits=("rowwise",),
    needs=("torch",),
)
def dcl(enc: Encoded, *, temperature: Annotated[float, Field(gt=0, le=100)] = 0.07) -> Tensor:
    """InfoNCE whose denominator holds the negatives alone, so that an easy positive does not silence them.

    Formula, for row i with scores s, positives p of weight v, negatives j of weight w, temperature T::

        L_i = -sum_p v_p / sum(v) * s_p / T  +  log sum_j w_j exp(s_j / T)

    InfoNCE's gradient is this one's times 1 - P(positive); that factor vanishes when the positive is easy or the batch
    small. Here it is always 1.

    Inputs: a block of rows against all columns; gives [n] losses, which may be negative and have no lower bound, so
    that curves cannot be compared with those of `infonce`. A row without a positive gives 0 and no gradient, and so,
    because the logarithm of an empty sum is no number, does a row without a negative. In the paper the negatives are
    the other 2(B - 1) views; here they are whatever the relation says. The temperature's default is that of `infonce`
    (the paper uses 0.07 to 0.2), so that comparing the two compares the formulas.

    Recommended for small batches and few epochs. With many large batches the gain over `infonce` is expected to fade.

    Relations:
        - `infonce` with the positive back in the denominator; `dclw` weighs the positive by how easy it is.
    """
    at = enc.rel.positives
    positive, negatives = scores_and_logsumexp(enc.sim, at, enc.rel.neg, temperature)
    return torch.where(at.has & negatives.isfinite(), negatives - at.mean(positive), 0.0)
