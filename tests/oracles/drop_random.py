"""The share that is dropped, and that it does not depend on anything but chance."""

from __future__ import annotations

import torch

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation

CASES: list[dict] = [{}, {"share": 0.4}, {"share": 0.0}, {"share": 1.0}]


def check(build, options):
    share = options.get("share", 0.1)
    draw = torch.Generator().manual_seed(0)
    rows, columns = 60, 500
    q, k = torch.randn(rows, 3, generator=draw), torch.randn(columns, 3, generator=draw)
    pos = torch.zeros(rows, columns)
    pos[:, :5] = 1.0
    enc = Encoded(q, k, Relation(pos, 2.0 * (1 - pos)))
    neg = build(**options)(enc, rng=RowDraws(0, torch.arange(rows))).neg
    kept = dropped = 0
    for row in neg.tolist():
        for weight in row[5:]:
            assert weight in (0.0, 2.0)
            dropped += int(weight == 0)
            kept += int(weight == 2)
    spread = (share * (1 - share) / (kept + dropped)) ** 0.5
    assert abs(dropped / (kept + dropped) - share) <= 4 * spread, options
    if 0 < share < 1:
        gone = (neg[:, 5:] == 0).double()
        for along in (gone.mean(0), gone.mean(1)):
            expected = share * (1 - share) / (gone.numel() / len(along))
            assert 0.7 < along.var().item() / expected < 1.4, "drops lean on some rows or columns"
