"""CosFace: a margin between the positive and the negatives, in cosines."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from tellapart.core.encoded import Encoded
from tellapart.core.maths import scores_and_logsumexp, softplus
from tellapart.core.parts import part


@part(
    paper="(plain baseline; Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu: CosFace: Large Margin Cosine Loss for Deep Face "
    "Recognition, CVPR 2018)",
    place="objective",
    traits=("rowwise",),
    needs=("torch",),
    aliases=("am-softmax",),
)
def cosface(
    enc: Encoded,
    *,
    margin: Annotated[float, Field(ge=-2, le=2)] = 0.35,
    temperature: Annotated[float, Field(gt=0, le=100)] = 0.07,
) -> Tensor:
    """InfoNCE whose positive must lead by a margin.

    Formula, for row i with scores s, positives p of weight v, negatives j of weight w, temperature T::

        L_i = sum_p v_p / sum(v) * -log( exp((s_p - margin) / T) / (exp((s_p - margin) / T) + sum_j w_j exp(s_j / T)) )

    Inputs: a block of rows against all columns; gives [n] losses >= 0. A row without a positive, or without a negative,
    gives 0 and no gradient. In the paper the columns are class vectors (strategy `class-proxies`), its scale is 1 / T
    and its margin 0.35; any unit vectors may stand there here.

    Recommended where rows must be told from others by a threshold rather than ranked. A negative margin asks for less
    than a lead, which suits positives that are not sure (`interclr`).

    Relations:
        - `infonce` is margin 0; `triplet` has the margin without the softmax.
    """
    at = enc.rel.positives
    positive, negatives = scores_and_logsumexp(enc.sim, at, enc.rel.neg, temperature)
    return at.mean(softplus(negatives[at.row] - (positive - margin / temperature)))
