"""The sigmoid loss by loops: a sum of log-sigmoids over all pairs of a row."""

from __future__ import annotations

import math

import pytest

from tellapart.contract._blocks import weighted_rows

CASES: list[dict] = [{}, {"temperature": 0.2, "bias": -3.0}]


def check(build, options):
    temperature, bias = options.get("temperature", 0.1), options.get("bias", -10.0)
    enc = weighted_rows()
    got = build(**options)(enc)
    scores, pos, neg = _lists(enc)
    for i, s in enumerate(scores):
        loss = 0.0
        for j, score in enumerate(s):
            logit = score / temperature + bias
            loss -= pos[i][j] * math.log(1 / (1 + math.exp(-logit)))
            loss -= neg[i][j] * math.log(1 / (1 + math.exp(logit)))
        wanted = loss if sum(pos[i]) else 0.0
        assert got[i].item() == pytest.approx(wanted, rel=1e-9, abs=1e-9), (options, i)


def _lists(enc):
    """Scores by plain sums, and the weights, as lists; a row's own columns stand last."""
    scores = []
    for i, row in enumerate(enc.q.tolist()):
        columns = enc.k.tolist() + enc.own[i].tolist()
        scores.append([sum(a * b for a, b in zip(row, column, strict=True)) for column in columns])
    return scores, enc.rel.pos.tolist(), enc.rel.neg.tolist()
