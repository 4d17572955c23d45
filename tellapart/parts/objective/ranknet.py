"""RankNet: the pairwise logistic loss."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from tellapart.core.encoded import Encoded
from tellapart.core.maths import pairwise_sum
from tellapart.core.parts import part


@part(
    paper="Burges, Shaked, Renshaw, Lazier, Deeds, Hamilton, Hullender: Learning to Rank using Gradient Descent, "
    "ICML 2005; as in Zhan, Mao, Liu, Guo, Zhang, Ma: Optimizing Dense Retrieval Model Training with Hard Negatives, "
    "SIGIR 2021",
    place="objective",
    system="star-adore",
    traits=("rowwise",),
    needs=("torch",),
)
def ranknet(enc: Encoded, *, temperature: Annotated[float, Field(gt=0, le=100)] = 0.07) -> Tensor:
    """Logistic loss on every pair (positive, negative) of a row: the positive should score higher.

    Formula, for row i with scores s, positives p of weight v, negatives j of weight w, temperature T::

        L_i = sum_p v_p / sum(v) * sum_j w_j log(1 + exp(-(s_p - s_j) / T))

    The sum over negatives is not divided by their number, so that weights on negatives keep their size: STAR's mean
    over hard plus mean over random negatives is 1 / count as weight, and ADORE's LambdaLoss is the change of the
    metric as weight. The papers score with unscaled dot products (T = 1); on unit vectors a slope of 1 hardly moves
    anything, hence the default of `infonce`.

    Inputs: a block of rows against all columns; gives [n] losses >= 0. A row without a positive, or without a
    negative, gives 0 and no gradient. Costs one pass over the block for each positive of a row.

    Recommended with few, chosen negatives a row (mined ones); with thousands of random ones `infonce` looks at the
    hardest by itself.

    Relations:
        - `triplet` has a hinge in place of the logistic function; `infonce` has the sum inside the logarithm.
    """
    return pairwise_sum("softplus", enc.sim, enc.rel.positives, enc.rel.neg, temperature=temperature)
