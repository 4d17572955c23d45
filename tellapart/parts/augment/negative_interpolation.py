"""Feature transformation, negative half: every negative is mixed with another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.maths import unit
from tellapart.core.mixing import mix, shared_positives, with_positives_apart
from tellapart.core.parts import part
from tellapart.core.relation import Relation

SHARE, ORDER = 22, 23


@part(
    paper="Zhu, Zhao, Liu, Sun, Chen: Improving Contrastive Learning by Visualizing Feature Transformation, ICCV 2021",
    place="augment",
    system="cl-feature-transform",
    traits=("features", "label", "pairing", "replaces"),
    needs=("torch",),
)
def negative_interpolation(
    enc: Encoded, *, rng: RowDraws, alpha: Annotated[float, Field(ge=0.5, le=100)] = 1.6
) -> Encoded:
    """Mix every common column with another, so that the negatives are new at every step.

    Formula, with r a random order of the m common columns and b one number for all, both drawn anew every step::

        k'_j = | b k_j + (1 - b) k_r(j) |,     b ~ Beta(alpha, alpha)
        w'_ij = b w_ij + (1 - b) w_ir(j)       where both are negatives of row i, else 0

    k' stands in place of k: there are as many negatives as before and none is as it was. A mixture with something that
    is no negative of the row (its positive, a member of its duplicate group) is nothing to the row: of m columns each
    row loses about as many negatives as it has positives. The positives are kept, as own columns of their rows. The
    gradient flows through to the columns. Own columns that were there, such as mined negatives, are not mixed.

    What was taken: one number a step and alpha = 1.6, as in the released code, which mixes the queue alone and does not
    bring mixtures to unit length; here the columns of the batch are mixed too, and all have length 1.

    Recommended with a queue that changes slowly, as in the paper. Batches of a few rows leave few mixtures without a
    positive in them. Mixtures of far apart vectors lie where no item does: at a low temperature they are easy, and
    hardly matter.

    Relations:
        - `positive-extrapolation` is the paper's other half.
        - `mochi` mixes the hardest negatives only, and adds them to those that were there.
    """
    kept = with_positives_apart(enc, at := shared_positives(enc), unit(enc.k)[at.col])
    shared, k = len(enc.k), unit(enc.k)
    other = rng.of_columns(shared).uniform(1, stream=ORDER)[:, 0].argsort(stable=True)
    share = rng.of_step().beta(alpha, 1, stream=SHARE)
    moved = mix(k, k[other], share)
    first = kept.rel.neg[:, :shared]
    second = first[:, other]
    weight = torch.where((first > 0) & (second > 0), torch.lerp(second, first, share.to(first.dtype)), 0.0)
    neg = torch.cat([weight, kept.rel.neg[:, shared:]], 1)
    return replace(kept, k=moved.to(enc.k.dtype), rel=Relation(kept.rel.pos, neg))
