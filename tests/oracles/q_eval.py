"""Words and loss in loops: no small change of what was learnt lowers it, and the score is their expected value."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"mse": 0.0, "decay": 0.05, "dim": 2}]


def check(build, options):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 3)) * [3.0, 1.5, 0.7]
    y = 20 + 7 * np.tanh(x[:, 0] / 3 - 0.2 * x[:, 1]) + 0.3 * rng.normal(size=60)
    part = build(**options).fit(x, y)
    z = part.axes_(x)
    assert z.shape[1] == min(3, options.get("dim", 64)) and np.allclose(z.std(axis=0), 1)
    weight = part.weight_
    best = loss(weight, z, y, options)
    for _ in range(12):
        nudged = weight + 0.02 * rng.normal(size=weight.shape)
        assert loss(nudged, z, y, options) > best - 1e-7
    scores, said = part.score(x), part.words(x)
    names = ["bad", "poor", "fair", "good", "excellent"]
    for i in range(60):
        p = softmax(z[i], weight)
        assert scores[i] == pytest.approx(sum(c / 4 * p[c] for c in range(5)), abs=1e-6)
        assert said[i] == names[max(range(5), key=lambda c: p[c])]
    assert np.corrcoef(scores, y)[0, 1] > 0.9 and 0 <= scores.min() <= scores.max() <= 1
    with pytest.raises(DataError, match="not all alike"):
        build(**options).fit(x, np.ones(60))
    with pytest.raises(DataError, match="that are numbers"):
        build(**options).fit(x, ["good"] * 60)


def softmax(z, weight):
    logits = [sum(z[d] * weight[d][c] for d in range(len(z))) + weight[-1][c] for c in range(5)]
    top = max(logits)
    e = [math.exp(v - top) for v in logits]
    return [v / sum(e) for v in e]


def loss(weight, z, y, options):
    total, low, high = 0.0, min(y), max(y)
    for i in range(len(z)):
        share = (y[i] - low) / (high - low)
        word = min(int(share * 5), 4)
        p = softmax(z[i], weight)
        soft = sum(c / 4 * p[c] for c in range(5))
        total += -math.log(p[word]) + options.get("mse", 1.0) * (soft - share) ** 2
    plain = sum(w * w for row in weight[:-1] for w in row)
    return total / len(z) + options.get("decay", 1e-3) / 2 * plain
