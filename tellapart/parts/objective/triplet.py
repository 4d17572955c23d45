"""The triplet loss over all triplets."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from tellapart.core.encoded import Encoded
from tellapart.core.maths import pairwise_sum
from tellapart.core.parts import part


@part(
    paper="Schroff, Kalenichenko, Philbin: FaceNet: A Unified Embedding for Face Recognition and Clustering, CVPR 2015",
    place="objective",
    traits=("rowwise",),
    needs=("torch",),
)
def triplet(enc: Encoded, *, margin: Annotated[float, Field(ge=0, le=4)] = 0.2) -> Tensor:
    """Hinge on every triplet (row, positive, negative): the positive should score higher by a margin.

    Formula, for row i with scores s, positives p of weight v, negatives j of weight w, margin m::

        L_i = sum_p sum_j v_p w_j max(0, m - s_p + s_j) / (sum(v) * sum(w))

    All triplets count, the satisfied ones with 0. The paper's hinge is on squared distances, which on unit vectors are
    2 - 2 s: its margin 0.2 is 0.1 here, its loss twice this one. The default 0.2 is that usual on cosines.

    Inputs: a block of rows against all columns; gives [n] losses from 0 to 2 + margin. A row without a positive, or
    without a negative, gives 0 and no gradient. Costs one pass over the block for each positive of a row.

    Recommended where a bounded loss is wanted that stops once a margin is kept; slow to learn when most triplets are
    easy.

    Relations:
        - `triplet-hardest` takes only the hardest triplet of each row; `ranknet` is the smooth form without a margin.
    """
    sums = pairwise_sum("hinge", enc.sim, enc.rel.positives, enc.rel.neg, margin=margin)
    total = enc.rel.neg.sum(1)
    return sums / torch.where(total > 0, total, 1.0)
