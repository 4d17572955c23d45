"""Weighted decoupled contrastive learning by loops: value, and the gradient with the weights held constant."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tellapart.contract._blocks import weighted_rows

CASES: list[dict] = [{}, {"temperature": 0.4, "spread": 0.2}]


def check(build, options):
    temperature, spread = options.get("temperature", 0.07), options.get("spread", 0.5)
    enc = weighted_rows()
    got = build(**options)(enc)
    scores, pos, neg = _lists(enc)
    rows = [i for i in range(len(scores)) if sum(pos[i]) and sum(neg[i])]
    eases = []
    for i in rows:
        eases.append(sum(v / sum(pos[i]) * math.exp(x / spread) for x, v in zip(scores[i], pos[i], strict=True)))
    mean = sum(eases) / len(rows)
    loss = 0.0
    weights = {}
    for i in rows:
        s = scores[i]
        loss += math.log(sum(w * math.exp(x / temperature) for x, w in zip(s, neg[i], strict=True))) / len(rows)
        for p, v in enumerate(pos[i]):
            weights[i, p] = v / sum(pos[i]) * (2 - math.exp(s[p] / spread) / mean)
            loss -= weights[i, p] * s[p] / temperature / len(rows)
    assert got.item() == pytest.approx(loss, rel=1e-9, abs=1e-9), options

    sim = enc.sim.detach().requires_grad_()
    fresh = replace(enc)
    fresh.__dict__["sim"] = sim
    (grad,) = torch.autograd.grad(build(**options)(fresh), sim)
    for i in rows:
        total = sum(w * math.exp(x / temperature) for x, w in zip(scores[i], neg[i], strict=True))
        for j, x in enumerate(scores[i]):
            wanted = neg[i][j] * math.exp(x / temperature) / total - weights.get((i, j), 0.0)
            assert grad[i, j].item() == pytest.approx(wanted / temperature / len(rows), rel=1e-8, abs=1e-10), (i, j)


def _lists(enc):
    """Scores by plain sums, and the weights, as lists; a row's own columns stand last."""
    scores = []
    for i, row in enumerate(enc.q.tolist()):
        columns = enc.k.tolist() + enc.own[i].tolist()
        scores.append([sum(a * b for a, b in zip(row, column, strict=True)) for column in columns])
    return scores, enc.rel.pos.tolist(), enc.rel.neg.tolist()
