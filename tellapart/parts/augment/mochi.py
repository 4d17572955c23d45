"""MoCHi: harder negatives, mixed from the hardest ones."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.maths import unit
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
    with torch.no_grad():
        score = torch.where(enc.rel.neg > 0, enc.sim, -torch.inf)
        best = score.topk(min(hardest, score.shape[1]), dim=1)
        count = best.values.isfinite().sum(1, keepdim=True)

        def drawn(width: int, stream: int) -> Tensor:
            return (rng.uniform(width, stream=stream) * count).long().clamp_max((count - 1).clamp_min(0))

        def columns(place: Tensor) -> tuple[Tensor, Tensor]:
            index = best.indices.gather(1, place)
            return _vectors(enc, index), enc.rel.neg.gather(1, index)

        u = drawn(mixes, FIRST)
        step = 1 + (rng.uniform(mixes, stream=SECOND) * (count - 1).clamp_min(0)).long()
        v = (u + torch.minimum(step, (count - 1).clamp_min(0))).remainder(count.clamp_min(1))
        (x, of_x), (y, of_y) = columns(u), columns(v)
        a = rng.uniform(mixes, stream=SHARE)
        z, of_z = columns(drawn(query_mixes, OF_QUERY))
        b = 0.5 * rng.uniform(query_mixes, stream=QUERY_SHARE)[..., None]
        made = torch.cat([a[..., None] * x + (1 - a[..., None]) * y, b * unit(enc.q)[:, None] + (1 - b) * z], 1)
        weight = torch.cat([a * of_x + (1 - a) * of_y, of_z], 1)
        return enc.with_own(unit(made).to(enc.k.dtype), torch.zeros_like(weight), weight)


def _vectors(enc: Encoded, index: Tensor) -> Tensor:
    """[n, s] column numbers -> [n, s, d] unit vectors; numbers from m on are the row's own columns."""
    shared = len(enc.k)
    common = enc.k[index.clamp_max(shared - 1)]
    if enc.own is None:
        return unit(common)
    place = (index - shared).clamp_min(0)[..., None].expand(-1, -1, enc.own.shape[2])
    return unit(torch.where((index < shared)[..., None], common, enc.own.gather(1, place)))
