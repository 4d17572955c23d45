"""The triplet loss by loops over triplets."""

from __future__ import annotations

import pytest
import torch

from tellapart.contract._blocks import weighted_rows
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation

CASES: list[dict] = [{}, {"margin": 0.9}]


def check(build, options):
    margin = options.get("margin", 0.2)
    enc = weighted_rows()
    got = build(**options)(enc)
    scores, pos, neg = _lists(enc)
    for i, s in enumerate(scores):
        loss, total = 0.0, sum(pos[i])
        for p, v in enumerate(pos[i]):
            if v == 0:
                continue
            for j, w in enumerate(neg[i]):
                loss += v * w * max(0.0, margin - s[p] + s[j]) / (total * sum(neg[i]))
        assert got[i].item() == pytest.approx(loss, rel=1e-9, abs=1e-9), (options, i)


def check_library(build):
    """TripletMarginLoss of pytorch-metric-learning on cosines; all rows have equally many triplets here."""
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.reducers import MeanReducer

    draw = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(24, 8, generator=draw, dtype=torch.float64), dim=1)
    label = torch.arange(24) % 6
    equal = label[:, None] == label
    pos = (equal & ~torch.eye(24, dtype=torch.bool)).double()
    enc = Encoded(z, z, Relation(pos, (~equal).double()))
    library = TripletMarginLoss(margin=0.3, distance=CosineSimilarity(), reducer=MeanReducer())
    got = build(margin=0.3)(enc).mean()
    assert got.item() == pytest.approx(library(z, label).item(), rel=1e-6)


def _lists(enc):
    """Scores by plain sums, and the weights, as lists; a row's own columns stand last."""
    scores = []
    for i, row in enumerate(enc.q.tolist()):
        columns = enc.k.tolist() + enc.own[i].tolist()
        scores.append([sum(a * b for a, b in zip(row, column, strict=True)) for column in columns])
    return scores, enc.rel.pos.tolist(), enc.rel.neg.tolist()
