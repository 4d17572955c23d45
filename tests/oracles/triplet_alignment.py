"""Soft maxima and shares of the positives by loops; the gradient of one row by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tellapart.contract._blocks import weighted_rows
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation

CASES: list[dict] = [{}, {"margin": 0.7, "temperature": 0.2}, {"margin": 0.0, "temperature": 1.5}]


def check(build, options):
    margin, temperature = options.get("margin", 0.1), options.get("temperature", 0.015)
    enc = weighted_rows()
    got = build(**options)(enc)
    pos, neg = enc.rel.pos.tolist(), enc.rel.neg.tolist()
    for i, row in enumerate(enc.q.tolist()):
        columns = enc.k.tolist() + enc.own[i].tolist()
        s = [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns]
        shares = [v * math.exp(x / temperature) if v > 0 else 0.0 for x, v in zip(s, pos[i], strict=True)]
        others = [w * math.exp(x / temperature) for x, w in zip(s, neg[i], strict=True) if w > 0]
        wanted = 0.0
        if sum(shares) and others:
            aligned = sum(a * x for a, x in zip(shares, s, strict=True)) / sum(shares)
            wanted = max(0.0, margin - aligned + temperature * math.log(sum(others)))
        assert got[i].item() == pytest.approx(wanted, rel=1e-9, abs=1e-12), (options, i)
    _gradient(build, options, temperature)
    _above_the_hardest(build, options, margin)


def _gradient(build, options, temperature):
    """Shares of positives, and those of negatives, are all that the scores get; the shares themselves have none."""
    s = torch.tensor([[0.1, 0.3, 0.2, 0.25]], dtype=torch.float64, requires_grad=True)
    pos, neg = torch.tensor([[1.0, 2.0, 0, 0]]).double(), torch.tensor([[0, 0, 1.0, 3.0]]).double()
    vectors = torch.zeros(1, 2).double(), torch.zeros(4, 2).double()
    loss = build(**options | {"margin": 2.0})(Encoded(*vectors, Relation(pos, neg)).with_scores(s))
    loss.sum().backward()
    up, down = (
        [w * math.exp(x / temperature) for x, w in zip(s[0].tolist(), weight[0].tolist(), strict=True)]
        for weight in (pos, neg)
    )
    wanted = [b / sum(down) - a / sum(up) for a, b in zip(up, down, strict=True)]
    assert s.grad[0].tolist() == pytest.approx(wanted, rel=1e-9)


def _above_the_hardest(build, options, margin):
    """One positive and negatives of weight 1: never below the hinge on the hardest of them."""
    draw = torch.Generator().manual_seed(1)
    s = torch.rand(6, 6, generator=draw, dtype=torch.float64)
    pos = torch.eye(6).double()
    enc = Encoded(torch.zeros(6, 2).double(), torch.zeros(6, 2).double(), Relation(pos, 1 - pos)).with_scores(s)
    got = build(**options)(enc).tolist()
    for i, row in enumerate(s.tolist()):
        hardest = max(x for j, x in enumerate(row) if j != i)
        assert got[i] >= max(0.0, margin - row[i] + hardest) - 1e-12
