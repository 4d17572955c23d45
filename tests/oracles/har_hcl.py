"""Hard negative sampling with the correction for false negatives, by loops over entries."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tellapart.contract._blocks import weighted_rows
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation

CASES: list[dict] = [
    {},
    {"beta": 0.0, "temperature": 0.3},
    {"beta": 2.5, "tau_plus": 0.05, "temperature": 0.4},
    {"beta": 0.5, "tau_plus": 0.5, "temperature": 0.3},
]


def check(build, options):
    enc = weighted_rows()
    got = build(**options)(enc)
    wanted, floors = _losses(enc, **options)
    for i, loss in enumerate(wanted):
        assert got[i].item() == pytest.approx(loss, rel=1e-9, abs=1e-9), (options, i)
    if options.get("tau_plus", 0.0) == 0.5:
        assert 0 < floors < sum(p > 0 for row in enc.rel.pos.tolist() for p in row), "both sides of the floor"
    if options:
        _gradient(build, enc, options)


def _gradient(build, enc, options):
    """By differences of the loops: it goes through the hardness weights."""
    k = enc.k.clone().requires_grad_()
    (grad,) = torch.autograd.grad(build(**options)(replace(enc, k=k)).sum(), k)
    for j, d in ((0, 0), (3, 2), (7, 5)):
        ends = []
        for step in (1e-6, -1e-6):
            moved = enc.k.clone()
            moved[j, d] += step
            ends.append(sum(_losses(replace(enc, k=moved), **options)[0]))
        assert grad[j, d].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-7), (options, j, d)


def _losses(enc, beta=1.0, tau_plus=0.0, temperature=0.07):
    """Losses of the rows, and how many sums were at their floor."""
    losses, floors = [], 0
    for i, row in enumerate(enc.q.tolist()):
        columns = enc.k.tolist() + enc.own[i].tolist()
        e = [math.exp(sum(a * b for a, b in zip(row, c, strict=True)) / temperature) for c in columns]
        pos, neg = enc.rel.pos[i].tolist(), enc.rel.neg[i].tolist()
        importance = [x**beta for x in e]
        mean = sum(w * x for w, x in zip(neg, importance, strict=True)) / sum(neg)
        hard = sum(w * x / mean * y for w, x, y in zip(neg, importance, e, strict=True))
        loss = 0.0
        for p, v in enumerate(pos):
            if v:
                least = sum(neg) * math.exp(-1 / temperature)
                rest = (hard - tau_plus * sum(neg) * e[p]) / (1 - tau_plus)
                floors += rest < least
                loss -= v / sum(pos) * math.log(e[p] / (e[p] + max(rest, least)))
        losses.append(loss)
    return losses, floors


def check_library_plain(build):
    """Without concentration and correction: NT-Xent of pytorch-metric-learning."""
    from pytorch_metric_learning.losses import NTXentLoss

    draw = torch.Generator().manual_seed(0)
    q, k = (torch.nn.functional.normalize(torch.randn(12, 8, generator=draw).double(), dim=1) for _ in range(2))
    pos = torch.eye(12)
    got = build(beta=0.0, temperature=0.2)(Encoded(q, k, Relation(pos, 1 - pos))).mean()
    label = torch.arange(12)
    wanted = NTXentLoss(temperature=0.2)(q, label, ref_emb=k, ref_labels=label.clone())
    assert got.item() == pytest.approx(wanted.item(), rel=1e-6)
