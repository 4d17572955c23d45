"""The hardest triplet of each row by loops."""

from __future__ import annotations

import pytest
import torch

from tellapart.contract._blocks import weighted_rows
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation

CASES: list[dict] = [{}, {"margin": 0.7}]


def check(build, options):
    margin = options.get("margin", 0.2)
    enc = weighted_rows()
    got = build(**options)(enc)
    scores, pos, neg = _lists(enc)
    for i, s in enumerate(scores):
        ours = [x for x, v in zip(s, pos[i], strict=True) if v > 0]
        others = [x for x, w in zip(s, neg[i], strict=True) if w > 0]
        wanted = max(0.0, margin - min(ours) + max(others)) if ours and others else 0.0
        assert got[i].item() == pytest.approx(wanted, rel=1e-9, abs=1e-12), (options, i)


def check_library(build):
    """TripletMarginLoss after BatchHardMiner of pytorch-metric-learning on cosines."""
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    draw = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(24, 8, generator=draw, dtype=torch.float64), dim=1)
    label = torch.arange(24) % 6
    equal = label[:, None] == label
    pos = (equal & ~torch.eye(24, dtype=torch.bool)).double()
    enc = Encoded(z, z, Relation(pos, (~equal).double()))
    cosine = CosineSimilarity()
    library = TripletMarginLoss(margin=0.3, distance=cosine, reducer=MeanReducer())
    wanted = library(z, label, BatchHardMiner(distance=cosine)(z, label))
    got = build(margin=0.3)(enc).mean()
    assert got.item() == pytest.approx(wanted.item(), rel=1e-6)


def _lists(enc):
    """Scores by plain sums, and the weights, as lists; a row's own columns stand last."""
    scores = []
    for i, row in enumerate(enc.q.tolist()):
        columns = enc.k.tolist() + enc.own[i].tolist()
        scores.append([sum(a * b for a, b in zip(row, column, strict=True)) for column in columns])
    return scores, enc.rel.pos.tolist(), enc.rel.neg.tolist()
