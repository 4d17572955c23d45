"""Drop negatives that score about as high as the positive."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.parts import part
from tellapart.core.relation import Relation


@part(
    paper="Moreira, Osmulski, Xu, Ak, Schifferer, Oldridge: NV-Retriever: Improving text embedding models with "
    "effective hard-negative mining, arXiv 2024",
    place="pairs",
    traits=("rowwise",),
    needs=("torch",),
    aliases=("positive-aware",),
)
def drop_near_positive(enc: Encoded, *, rng: RowDraws, margin: Annotated[float, Field(ge=-1, le=2)] = 0.05) -> Relation:
    """Drop a negative whose score comes within a share of the weakest positive's score.

    Formula, for row i with scores s and weakest positive s* = min over positives of s_ip::

        neg_ij = 0  where  s_ij > s* - |s*| * margin,  else unchanged

    This is NV-Retriever's TopK-PercPos (a negative may reach at most 95% of the positive) written so that it also
    lowers the bar when the positive's score is below 0, where `s* (1 - margin)` would raise it. The paper filters mined
    negatives by a teacher's scores, one positive a query; here the model in training judges and, of several positives,
    the weakest sets the bar.

    Inputs: a block of rows against all columns. Gives the relation with fewer negatives; positives stay. A row without
    a positive keeps all its negatives. The scores are looked at, not learnt from.

    Recommended with mined negatives, and in batches once the model is fair: early on the positive scores low and the
    rule drops most negatives. A negative margin keeps some negatives above the positive.

    Relations:
        - `gist-embed` asks a frozen guide instead, with an absolute margin; it is steady from the first step.
        - The same rule decides which mined negatives are kept.
    """
    sim = enc.sim.detach()
    weakest = torch.where(enc.rel.pos > 0, sim, torch.inf).amin(1, keepdim=True)
    bar = torch.where(weakest.isfinite(), weakest - weakest.abs() * margin, torch.inf)
    return enc.rel.without_negatives(sim > bar)
