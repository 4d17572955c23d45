"""The large margin cosine loss by loops."""

from __future__ import annotations

import math

import pytest
import torch

from tellapart.contract._blocks import weighted_rows
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation

CASES: list[dict] = [{}, {"margin": -0.5, "temperature": 0.4}]


def check(build, options):
    margin, temperature = options.get("margin", 0.35), options.get("temperature", 0.07)
    enc = weighted_rows()
    got = build(**options)(enc)
    for i, row in enumerate(enc.q.tolist()):
        columns = enc.k.tolist() + enc.own[i].tolist()
        s = [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns]
        pos, neg = enc.rel.pos[i].tolist(), enc.rel.neg[i].tolist()
        loss = 0.0
        for p, v in enumerate(pos):
            if v:
                lead = math.exp((s[p] - margin) / temperature)
                rest = sum(w * math.exp(x / temperature) for x, w in zip(s, neg, strict=True))
                loss += v / sum(pos) * math.log((lead + rest) / lead)
        assert got[i].item() == pytest.approx(loss, rel=1e-9, abs=1e-9), (options, i)


def check_library(build):
    """CosFaceLoss of pytorch-metric-learning, with its class vectors as columns."""
    from pytorch_metric_learning.losses import CosFaceLoss

    draw = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(12, 8, generator=draw), dim=1)
    loss = CosFaceLoss(num_classes=5, embedding_size=8, margin=0.2, scale=10)
    loss.W.data.copy_(torch.randn(8, 5, generator=draw))
    label = torch.arange(12) % 5
    pos = torch.nn.functional.one_hot(label, 5).float()
    columns = torch.nn.functional.normalize(loss.W.detach().T, dim=1)
    got = build(margin=0.2, temperature=0.1)(Encoded(z, columns, Relation(pos, 1 - pos))).mean()
    assert got.item() == pytest.approx(loss(z, label).item(), rel=1e-5)
