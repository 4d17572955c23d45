"""The noise that was added, read back from the vectors: its length and its distribution."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch

from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation

CASES: list[dict] = [{}, {"strength": 0.5}, {"strength": 0.0}]


def check(build, options):
    strength = options.get("strength", 0.1)
    rows, d = 60, 40
    q = torch.zeros(rows, d, dtype=torch.float64)
    q[:, 0] = 1.0
    enc = Encoded(q, q[:1], Relation(torch.ones(rows, 1), torch.zeros(rows, 1)))
    part = build(**options)
    noise = []
    for seed in range(5):
        for moved in part(enc, rng=RowDraws(seed, torch.arange(rows))).q.tolist():
            # moved = (q + x) / length, and x is 0 on average along q: undo the length that the first number shows
            assert sum(v * v for v in moved) == pytest.approx(1.0)
            noise.extend(v / moved[0] for v in moved[1:])
    expected = strength / math.sqrt(d)
    spread = math.sqrt(sum(v * v for v in noise) / len(noise))
    assert spread == pytest.approx(expected, rel=0.05, abs=1e-12)
    assert abs(sum(noise) / len(noise)) <= 4 * expected / math.sqrt(len(noise))
    if strength:
        for share in (0.05, 0.25, 0.5, 0.9):
            below = sum(v < NormalDist(0, spread).inv_cdf(share) for v in noise) / len(noise)
            assert below == pytest.approx(share, abs=0.02), "the noise is not normal"
