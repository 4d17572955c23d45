"""InfoNCE by loops: each positive against the negatives alone."""

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
    scores, pos, neg = _lists(enc)
    for i, s in enumerate(scores):
        loss, total = 0.0, sum(pos[i])
        for p, v in enumerate(pos[i]):
            if v == 0:
                continue
            rest = sum(w * math.exp(x / temperature) for x, w in zip(s, neg[i], strict=True))
            this = math.exp(s[p] / temperature)
            loss += v / total * -math.log(this / (this + rest))
        assert got[i].item() == pytest.approx(loss, rel=1e-9, abs=1e-9), (options, i)


def check_library(build):
    """NT-Xent of pytorch-metric-learning, which also takes each positive against the negatives alone."""
    from pytorch_metric_learning.losses import NTXentLoss

    draw = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(24, 8, generator=draw, dtype=torch.float64), dim=1)
    label = torch.arange(24) % 6
    equal = label[:, None] == label
    pos = (equal & ~torch.eye(24, dtype=torch.bool)).double()
    enc = Encoded(z, z, Relation(pos, (~equal).double()))
    wanted = NTXentLoss(temperature=0.2)(z, label)
    got = build(temperature=0.2)(enc).mean()
    assert got.item() == pytest.approx(wanted.item(), rel=1e-6)


def _lists(enc):
    """Scores by plain sums, and the weights, as lists; a row's own columns stand last."""
    scores = []
    for i, row in enumerate(enc.q.tolist()):
        columns = enc.k.tolist() + enc.own[i].tolist()
        scores.append([sum(a * b for a, b in zip(row, column, strict=True)) for column in columns])
    return scores, enc.rel.pos.tolist(), enc.rel.neg.tolist()
