"""Focal supervised contrast by loops: each positive's logarithm times what its probability lacks to 1."""

from __future__ import annotations

import math

import pytest
import torch

from tellapart.contract._blocks import weighted_rows
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation

CASES: list[dict] = [{}, {"temperature": 0.5}]


def check(build, options):
    temperature = options.get("temperature", 0.07)
    enc = weighted_rows()
    got = build(**options)(enc)
    for i, row in enumerate(enc.q.tolist()):
        columns = enc.k.tolist() + enc.own[i].tolist()
        s = [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns]
        pos, neg = enc.rel.pos[i].tolist(), enc.rel.neg[i].tolist()
        everything = sum((v + w) * math.exp(x / temperature) for x, v, w in zip(s, pos, neg, strict=True))
        loss = 0.0
        for x, v in zip(s, pos, strict=True):
            if v:
                share = math.exp(x / temperature) / everything
                loss += v / sum(pos) * -(1 - share) * math.log(share)
        assert got[i].item() == pytest.approx(loss, rel=1e-8, abs=1e-9), (options, i)
    _alone(build)


def _alone(build):
    """One positive and one negative: binary focal loss with an exponent of 1, and its gradient."""
    q = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    k = torch.tensor([[0.6, 0.8], [0.8, -0.6]], dtype=torch.float64)
    rel = Relation(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    build(temperature=1.0)(Encoded(q, k, rel)).sum().backward()
    p = 1 / (1 + math.exp(0.8 - 0.6))
    slope = (math.log(p) - (1 - p) / p) * p * (1 - p)  # by the difference of the two scores
    assert torch.allclose(q.grad[0], slope * (k[0] - k[1]))
