"""MoCHi: harder negatives, mixed from the hardest ones."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.maths import unit
from tellapart.core.mixing import columns, mix
from tellapart.core.parts import part

FIRST, SECOND, SHARE, OF_QUERY, QUERY_SHARE = range(5)


@part(
    paper="Kalantidis, Sariyildiz, Pion, Weinzaepfel, Larlus: Hard Negative Mixing for Contrastive Learning, "
    "NeurIPS 2020",
    place="augment",
    system="mochi",
    traits=("features", "label", "pairing"),
    needs=("torch",),
)
def mochi(
    enc: Encoded,
    *,
    rng: RowDraws,
    hardest: Annotated[int, Field(ge=1, le=65536)] = 64,
    mixes: Annotated[int, Field(ge=0, le=4096)] = 64,
    query_mixes: Annotated[int, Field(ge=0, le=4096)] = 16,
) -> Encoded:
    """Give every row synthetic negatives between its hardest negatives, and between those and the row itself.

    Formula, for row i with vector q, its N = `hardest` negatives n of highest score, |x| the vector of length 1::

        h  = | a n_u + (1 - a) n_v |      u != v drawn from the N, a uniform on [0, 1)      `mixes` times
        h' = | b q   + (1 - b) n_u |      u drawn from the N,      b uniform on [0, 0.5)    `query_mixes` times

    Inputs: a block of rows against all columns, and draws that belong to the rows. Gives the block with `mixes` +
    `query_mixes` own columns more, negatives only, without a gradient into them, as in the paper. Weights of negatives
    mix as the vectors do (b counts for nothing), so that they are 1 where all are 1. A row with fewer than N negatives
    takes those it has; with one negative u and v are the same; without any its new columns weigh nothing.

    The paper's (N, s, s') = (1024, 1024, 128) belong to a queue of 65,536: its hardest 1.6%. The defaults here are for
    batches and queues of some hundred to some thousand columns. The paper starts after a warm-up of some epochs, which
    this part cannot know of.

    Recommended when most negatives have become easy (a large queue, late training). Harder negatives spread the vectors
    more evenly and raise the harm of false negatives: with collections full of near twins put duplicates into groups,
    or drop with `gist-embed`, first.

    Relations:
        - Goes with the strategy `momentum-queue`, as in the paper, and as well with batch negatives alone.
        - Mined negatives are real and cost an encoder pass; these cost a matrix product.
    """
    score = torch.where(enc.rel.neg > 0, enc.sim.detach(), -torch.inf)
    best = score.topk(min(hardest, score.shape[1]), dim=1)
    count = best.values.isfinite().sum(1, keepdim=True)
    last = (count - 1).clamp_min(0)

    def drawn(width: int, stream: int) -> Tensor:
        return torch.minimum((rng.uniform(width, stream=stream) * count).long(), last)

    u = drawn(mixes, FIRST)
    step = torch.minimum(1 + (rng.uniform(mixes, stream=SECOND) * last).long(), last)
    v = (u + step).remainder(count.clamp_min(1))
    first = best.indices.gather(1, torch.cat([u, drawn(query_mixes, OF_QUERY)], 1))
    second = best.indices.gather(1, v)
    share = torch.cat([rng.uniform(mixes, stream=SHARE), 1 - 0.5 * rng.uniform(query_mixes, stream=QUERY_SHARE)], 1)
    with torch.no_grad():
        query = unit(enc.q)[:, None].expand(-1, query_mixes, -1)
        made = mix(columns(enc, first), torch.cat([columns(enc, second), query], 1), share[..., None])
    of_first, of_second = enc.rel.neg.gather(1, first), enc.rel.neg.gather(1, second)
    of_mixes = torch.lerp(of_second, of_first[:, :mixes], share[:, :mixes].to(of_first.dtype))
    weight = torch.cat([of_mixes, of_first[:, mixes:]], 1)
    return enc.with_own(made.to(enc.k.dtype), torch.zeros_like(weight), weight)
