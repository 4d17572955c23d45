"""Vectors between vectors, and columns of a row's own: what augmentations of features share. Needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from tellapart.core.encoded import Encoded
from tellapart.core.maths import Positives, positives, unit
from tellapart.core.relation import Relation

SHORTEST = 1e-12
STRAIGHT = 1e-3


def mix(a: Tensor, b: Tensor, share: Tensor, *, along: Literal["line", "arc"] = "line") -> Tensor:
    """The unit vectors at `share` of a and 1 - `share` of b, [..., d]; differentiable in a and b.

    Args:
        a, b: [..., d] vectors of unit length.
        share: [..., 1] in [0, 1].
        along: `line`: |share a + (1 - share) b|. `arc`: the point of the great circle from b to a that many parts of
            the angle t between them away from b, (sin(share t) a + sin((1 - share) t) b) / sin(t).

    Where the line leads through 0, and along an arc between opposite vectors, which has no direction, it is a; an arc
    shorter than a thousandth is taken for a line.
    """
    share = share.to(a.dtype)
    if along == "arc":
        cosine = (a * b).sum(-1, keepdim=True)
        short = 1 - cosine.detach().abs() < STRAIGHT**2 / 2
        angle = torch.where(short, 0.0, cosine).acos()
        curved = (share * angle).sin() * a + ((1 - share) * angle).sin() * b
        return _of_length_one(torch.where(short, torch.lerp(b, a, share), curved), a)
    return _of_length_one(torch.lerp(b, a, share), a)


def columns(enc: Encoded, index: Tensor) -> Tensor:
    """[n, s] column numbers of a block -> [n, s, d] unit vectors; numbers from m on are the row's own columns."""
    shared, k = len(enc.k), unit(enc.k)
    if enc.own is None:
        return k[index]
    place = (index - shared).clamp_min(0)[..., None].expand(-1, -1, enc.own.shape[2])
    return torch.where((index < shared)[..., None], k[index.clamp_max(shared - 1)], unit(enc.own).gather(1, place))


def shared_positives(enc: Encoded) -> Positives:
    """The positives of the rows among the common columns."""
    return positives(enc.rel.pos[:, : len(enc.k)])


def with_positives_apart(enc: Encoded, at: Positives, vectors: Tensor) -> Encoded:
    """The block with the common positives `at` of its rows replaced by columns of the rows' own, [p, d].

    The common columns they stood in are then neither positive nor negative to the row. As many own columns are added as
    the row with the most positives has; where a row has fewer, the row's vector stands there and weighs nothing. What a
    guide says of a positive goes with it, as `guide_own`; where it says nothing of an own column there are zeros.
    """
    slot, width = _slots(at), int(torch.bincount(at.row, minlength=1).max())
    own = unit(enc.q)[:, None].expand(-1, width, -1).index_put((at.row, slot), vectors)
    weight = enc.rel.pos.new_zeros(len(enc.q), width).index_put((at.row, slot), at.weight)
    left = Relation(enc.rel.pos.index_put((at.row, at.col), enc.rel.pos.new_zeros(())), enc.rel.neg)
    apart = enc.with_relation(left).with_own(own.to(enc.k.dtype), weight, torch.zeros_like(weight))
    return replace(apart, rows={**enc.rows, **_guide(enc, at, slot, width)})


def _slots(at: Positives) -> Tensor:
    """[p] the how manyth positive of its row each is."""
    count = torch.bincount(at.row, minlength=len(at.total))
    first = (count.cumsum(0) - count)[at.row]
    return torch.arange(len(at.row), device=at.row.device) - first


def _guide(enc: Encoded, at: Positives, slot: Tensor, width: int) -> Mapping[str, Tensor]:
    if "guide_k" not in enc.cols:
        return {}
    guide = enc.cols["guide_k"]
    said = guide.new_zeros(len(enc.q), width, guide.shape[1]).index_put((at.row, slot), guide[at.col])
    before = 0 if enc.own is None else enc.own.shape[1]
    known = enc.rows.get("guide_own", guide.new_zeros(len(enc.q), 0, guide.shape[1]))
    gap = guide.new_zeros(len(enc.q), before - known.shape[1], guide.shape[1])
    return {"guide_own": torch.cat([known, gap, said], 1)}


def _of_length_one(x: Tensor, otherwise: Tensor) -> Tensor:
    length = x.norm(dim=-1, keepdim=True)
    return torch.where(length > SHORTEST, x / length.clamp_min(SHORTEST), otherwise)
