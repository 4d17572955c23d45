"""Every mixture by loops: an angle between two vectors, a share of it, the hardest of those that are negatives."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import beta, kstest

from tellapart.contract._blocks import block, draws_of, weighted_rows
from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation

CASES: list[dict] = [{}, {"hardest": 3, "weight": 0.25}, {"alpha": 3.0, "hardest": 9}]


def check(build, options):
    part = build(**options)
    hardest, weight = options.get("hardest", 64), options.get("weight", 1.0)
    for enc in (weighted_rows(), block(own=0)):
        mates = torch.randn(enc.k.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        mates /= mates.norm(dim=1, keepdim=True)
        enc = replace(enc, cols={**enc.cols, "mate": mates})
        made = part(enc, rng=draws_of(enc))
        before, m = 0 if enc.own is None else enc.own.shape[1], len(enc.k)
        old, width = m + before, min(hardest, m)
        assert made.own.shape[1] == before + width
        share = _share_of_step(part)
        mixed = [_arc(x, k, share) for x, k in zip(mates.tolist(), enc.k.tolist(), strict=True)]
        for i, q in enumerate(enc.q.tolist()):
            candidates = [(_dot(q, mixed[j]), j) for j in range(m) if enc.rel.neg[i, j] > 0]
            best = [j for _, j in sorted(candidates, reverse=True)[:width]]
            for s in range(width):
                got = made.rel.neg[i, old + s].item()
                if s >= len(best):
                    assert got == 0
                    continue
                assert got == pytest.approx(weight * enc.rel.neg[i, best[s]].item())
                assert made.own[i, before + s].tolist() == pytest.approx(mixed[best[s]], abs=1e-6)
            assert (made.rel.pos[i, old:] == 0).all()
    _draws(part, options.get("alpha", 0.5))
    _gradient(part)


def _share_of_step(part):
    """On two axes the share can be read off the angle; the seed is that of `draws_of`."""
    return _read(part, 3)


def _read(part, seed):
    axes = torch.eye(3, dtype=torch.float64)
    enc = Encoded(axes[:1], axes[1:2], Relation(torch.zeros(1, 1), torch.ones(1, 1)), cols={"mate": axes[2:]})
    _, of_k, of_mate = part(enc, rng=RowDraws(seed, torch.tensor([9]))).own[0, 0].tolist()
    return math.atan2(of_mate, of_k) / (math.pi / 2)


def _draws(part, alpha):
    shares = [_read(part, seed) for seed in range(1000)]
    assert kstest(shares, beta(alpha, alpha).cdf).pvalue > 1e-3


def _gradient(part):
    """Both halves learn, and no slope is infinite."""
    enc = block(own=0)
    mates = torch.roll(enc.k, 1, 0).clone().requires_grad_()
    k = enc.k.clone().requires_grad_()
    made = part(replace(enc, k=k, cols={"mate": mates}), rng=draws_of(enc))
    grads = torch.autograd.grad(made.own.sum(), (k, mates))
    assert all(g.isfinite().all() and g.abs().sum() > 0 for g in grads)


def _arc(x, y, share):
    angle = math.acos(_dot(x, y))
    a, b = math.sin(share * angle) / math.sin(angle), math.sin((1 - share) * angle) / math.sin(angle)
    return [a * s + b * t for s, t in zip(x, y, strict=True)]


def _dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))
