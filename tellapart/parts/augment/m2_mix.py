"""Geodesic multi-modal mixup: points between the two halves of another pair are hard negatives."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.maths import unit
from tellapart.core.mixing import mix
from tellapart.core.parts import part

SHARE = 31


@part(
    paper="Oh, So, Byun, Lim, Shin, Jeon, Song: Geodesic Multi-Modal Mixup for Robust Fine-Tuning, NeurIPS 2023",
    place="augment",
    system="m2-mix",
    traits=("features", "label", "pairing", "mates"),
    needs=("torch",),
)
def m2_mix(
    enc: Encoded,
    *,
    rng: RowDraws,
    alpha: Annotated[float, Field(ge=0.5, le=100)] = 0.5,
    hardest: Annotated[int, Field(ge=1, le=65536)] = 64,
    weight: Annotated[float, Field(gt=0, le=10)] = 1.0,
) -> Encoded:
    """Give every row negatives from the arcs between the two halves of other pairs.

    Formula, with k_j a column, x_j the other half of its pair (of the row's own side), t the angle between them, and a
    the same for all pairs of a step::

        m_j = (sin(a t) x_j + sin((1 - a) t) k_j) / sin(t),     a ~ Beta(alpha, alpha)

    Row i gets, of the m_j whose k_j is its negative, the `hardest` of highest score q_i . m_j, each with `weight` times
    the weight that k_j has. With `hardest` at least the batch these are all that there are; less saves memory, and at a
    low temperature the rest add nothing. The gradient flows through to both halves, as in the paper.

    Inputs: a block whose columns carry the other halves as `cols["mate"]` [m, d], which training supplies. Raises
    PartError where there are none. A row with fewer negatives gets those it has; what is left weighs nothing.

    What was taken: the paper adds a second loss, `weight` (0.001 to 0.05, falling with the epochs) times one whose
    denominator holds the positive and the m_j alone, at a temperature of its own. Here they stand in the denominator of
    the one loss: to first order in `weight` the same push, but measured against all negatives. alpha = 0.5 is that of
    the released sweep. Its mixtures within one side (the m3-mix of the paper) are not here.

    Recommended for two kinds of items (pictures and texts) whose vectors lie in two separate cones: m_j lies between
    the cones, closer to the row than the column alone, so the cones have to spread over the sphere. Needs negatives of
    the batch: it does not go with a queue, which keeps one half only, and adds nothing where mined negatives are all
    that a row has. Collections whose two sides are one column are refused.

    Relations:
        - `mochi` mixes two negatives, or a negative with the row itself, along a line.
        - `positive-extrapolation` moves the row's own pair.
    """
    k, mate = unit(enc.k), unit(enc.need_cols("mate", "m2-mix"))
    share = rng.of_step().beta(alpha, 1, stream=SHARE)
    mixed = mix(mate.to(k.dtype), k, share, along="arc")
    negative = enc.rel.neg[:, : len(k)]
    score = torch.where(negative > 0, unit(enc.q).detach() @ mixed.detach().T, -torch.inf)
    best = score.topk(min(hardest, len(k)), dim=1).indices
    weights = weight * negative.gather(1, best)
    return enc.with_own(mixed[best].to(enc.k.dtype), torch.zeros_like(weights), weights)
