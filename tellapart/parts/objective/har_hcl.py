"""Contrastive learning with hard negative sampling: negatives count by how close they are, less those that are none."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from tellapart.core.encoded import Encoded
from tellapart.core.maths import scores_and_logsumexp, softplus, weighted_logsumexp
from tellapart.core.parts import part


@part(
    paper="Choi, Beedu, Essa: Multimodal Contrastive Learning with Hard Negative Sampling for Human Activity "
    "Recognition, arXiv 2023; after Robinson, Chuang, Sra, Jegelka: Contrastive Learning with Hard Negative Samples, "
    "ICLR 2021",
    place="pairs",
    system="har-hcl",
    traits=("rowwise", "relative"),
    needs=("torch",),
    aliases=("hcl",),
)
def har_hcl(
    enc: Encoded,
    *,
    beta: Annotated[float, Field(ge=0, le=50)] = 1.0,
    tau_plus: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    temperature: Annotated[float, Field(gt=0, le=100)] = 0.07,
) -> Tensor:
    """InfoNCE whose negatives are weighed by their own hardness and corrected for the false ones among them.

    Formula, for row i with scores s, positives p of weight v, negatives j of weight w, W = sum_j w_j, temperature T::

        h   = W * sum_j w_j exp((1 + beta) s_j / T) / sum_j w_j exp(beta s_j / T)
        N_p = max( (h - tau_plus * W * exp(s_p / T)) / (1 - tau_plus),  W * exp(-1 / T) )
        L_i = sum_p v_p / sum(v) * -log( exp(s_p / T) / (exp(s_p / T) + N_p) )

    The hardness weights exp(beta s_j / T), scaled to a mean of 1, stand for negatives drawn the more often the closer
    they are (`beta`, the concentration). What is taken off is what a share `tau_plus` of false negatives would add; no
    sum falls below the least that unit vectors allow. As in Robinson et al.'s code the gradient goes through the
    hardness weights too, which is why this is an objective and no `relate` part; a hard negative is then pushed the
    more, and one far easier than the rest may be let closer.

    Inputs: a block of rows against all columns; gives [n] losses >= 0. A row without a positive, or without a negative,
    gives 0 and no gradient. With beta = 0 and tau_plus = 0 it is `infonce`. Both modalities as rows: `both_ways`.

    What was taken: the formula is Robinson et al.'s, read in their code (temperature 0.5, beta 1, tau_plus 0.1).
    Whether the activity paper keeps the correction could not be checked, so it is off by default. It wants a high
    temperature: at 0.07 a positive that is 0.2 closer than the negatives outweighs 17 of them, a `tau_plus` of 0.1
    takes them all off, and the row learns no more from its negatives.

    Recommended where few of many negatives are informative: a large batch, distinct items. Hardness also finds the
    false negatives; with many near-synonyms take `tau_plus` with a temperature of 0.2 to 0.5, or a `relate` part.

    Relations:
        - `infonce` with a lower temperature looks harder at hard negatives too, but sharpens the positive with them.
        - `gist-embed` and `drop-near-positive` take likely false negatives out one by one instead of on average.
    """
    sim = enc.sim
    neg = enc.rel.neg.to(sim.dtype)
    at = enc.rel.positives
    positive, harder = scores_and_logsumexp(sim, at, neg, temperature / (1 + beta))
    positive = positive / (1 + beta)
    some = harder.isfinite()
    count = torch.where(some, neg.sum(1), 1.0).log()
    spread = weighted_logsumexp(sim * (beta / temperature), neg)
    hard = torch.where(some, harder, 0.0) - torch.where(some, spread, 0.0) + count
    hard, count = hard[at.row], count[at.row]
    if tau_plus:
        excess = math.log(tau_plus) + count + positive - hard
        left = excess < 0
        rest = torch.where(left, excess, -1.0)
        hard = torch.where(left, hard + torch.log(-torch.expm1(rest)) - math.log1p(-tau_plus), -torch.inf)
        hard = torch.maximum(hard, count - 1 / temperature)
    return at.mean(torch.where(some[at.row], softplus(hard - positive), 0.0))
