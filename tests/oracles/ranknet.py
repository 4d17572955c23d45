"""RankNet by loops over pairs."""

from __future__ import annotations

import math

import pytest

from tellapart.contract._blocks import weighted_rows

CASES: list[dict] = [{}, {"temperature": 1.0}]


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
            for j, w in enumerate(neg[i]):
                probability = 1 / (1 + math.exp(-(s[p] - s[j]) / temperature))
                loss += v / total * w * -math.log(probability)
        assert got[i].item() == pytest.approx(loss, rel=1e-9, abs=1e-9), (options, i)


def _lists(enc):
    """Scores by plain sums, and the weights, as lists; a row's own columns stand last."""
    scores = []
    for i, row in enumerate(enc.q.tolist()):
        columns = enc.k.tolist() + enc.own[i].tolist()
        scores.append([sum(a * b for a, b in zip(row, column, strict=True)) for column in columns])
    return scores, enc.rel.pos.tolist(), enc.rel.neg.tolist()
