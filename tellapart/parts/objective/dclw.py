"""Decoupled contrastive learning with a weight on the positive."""

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
    traits=("batch", "detached"),
    needs=("torch",),
)
def dclw(
    enc: Encoded,
    *,
    temperature: Annotated[float, Field(gt=0, le=100)] = 0.07,
    spread: Annotated[float, Field(ge=0.02, le=100)] = 0.5,
) -> Tensor:
    """`dcl` whose positives count more the farther apart they still are, relative to the batch.

    Formula, for row i with scores s, positives p of weight v, negatives j of weight w, temperature T, spread S::

        u_ip = 2 - exp(s_ip / S) / mean over the batch of exp(s / S)
        L    = mean_i [ -sum_p v_p / sum(v) * u_ip s_ip / T  +  log sum_j w_j exp(s_ij / T) ]

    The mean over the batch runs over the rows that have a positive and a negative, in each row over its positives by
    weight (the paper has one positive a row). The outer mean runs over the same rows; without any the loss is 0.
    `spread` is the paper's sigma. The paper does not say whether u carries a gradient; it is taken as a constant, as a
    weight usually is. u may fall below 0 for a positive far easier than the batch, which then is let go a little.

    Inputs: a whole batch of rows (the weights need its mean, hence the trait `batch`); gives a scalar.

    Relations:
        - `dcl` is this with u = 1 and computes row by row, so that it also runs in chunks.
    """
    at = enc.rel.positives
    positive, negatives = scores_and_logsumexp(enc.sim, at, enc.rel.neg, temperature)
    usable = at.has & negatives.isfinite()
    if not usable.any():
        return enc.sim.sum() * 0.0
    with torch.no_grad():
        score = positive * (temperature / spread)
        ease = (score - score.max()).exp()
        weight = 2.0 - ease / at.mean(ease)[usable].mean()
    return (negatives - at.mean(weight * positive))[usable].mean()
