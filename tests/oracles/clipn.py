"""The no head's losses and both rules by loops; its gradients by finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

CASES: list[dict] = [{}, {"temperature": 0.3, "hidden": 5, "steps": 9, "batch_size": 8, "learning_rate": 0.02}]


def unit(v):
    return [a / math.sqrt(sum(b * b for b in v)) for a in v]


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def second(t, weights):
    """n(t) = unit(t + B relu(A t + a) + b)."""
    first, bias, last, end = weights
    hidden = [max(0.0, sum(t[i] * first[i][j] for i in range(len(t))) + bias[j]) for j in range(len(bias))]
    return unit([t[i] + sum(hidden[j] * last[j][i] for j in range(len(bias))) + end[i] for i in range(len(t))])


def p_no(x, t, weights, temperature):
    yes, no = dot(x, t) / temperature, dot(x, second(t, weights)) / temperature
    return 1 / (1 + math.exp(yes - no))


def loss(xs, ts, weights, temperature):
    n, apart = len(xs), 0.0
    matched, mismatched = [], []
    for i in range(n):
        for j in range(n):
            p = p_no(xs[i], ts[j], weights, temperature)
            if i == j:
                matched.append(-math.log(1 - p))
            elif ts[i] != ts[j]:
                mismatched.append(-math.log(p))
        apart += 2 - math.sqrt(2 - 2 * dot(ts[i], second(ts[i], weights)) + 1e-4)
    return 0.5 * (sum(matched) / n + sum(mismatched) / len(mismatched) + apart / n)


def check(build, options):
    rng, temperature = np.random.default_rng(0), options.get("temperature", 0.05)
    names = [unit(v) for v in rng.normal(size=(4, 6))]
    kind = rng.integers(0, 4, 30)
    x = np.array([unit(v) for v in np.array(names)[kind] + 0.3 * rng.normal(size=(30, 6))])
    y = np.array([unit(v) for v in np.array(names)[kind] + 0.1 * rng.normal(size=(30, 6))])
    y[3] = y[2]
    part = build(**options).fit(x, y, names=names)

    xs, ts = x[:9].tolist(), y[:9].tolist()
    weights = [w + 0.3 * rng.normal(size=w.shape) for w in part.weights_]
    value, gradients = part.losses(x[:9], y[:9], np.array([0, 1, 2, 2, 3, 4, 5, 6, 7]), weights)
    assert value == pytest.approx(loss(xs, ts, weights, temperature), rel=1e-6)
    for weight, gradient in zip(weights, gradients, strict=True):
        for place in [tuple(rng.integers(0, size) for size in weight.shape) for _ in range(3)]:
            kept, ends = weight[place], []
            for step in (1e-6, -1e-6):
                weight[place] = kept + step
                ends.append(loss(xs, ts, weights, temperature))
            weight[place] = kept
            assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3, abs=1e-6)

    before = [part.weights_[0], part.weights_[1], np.zeros_like(part.weights_[2]), np.zeros_like(part.weights_[3])]
    assert loss(xs, ts, part.weights_, temperature) < loss(xs, ts, before, temperature), "training lowers no loss"

    probe = rng.normal(size=(8, 6))
    agreeing, competing, decided = part.score(probe), part.competing(probe), part.unknown(probe)
    for i, row in enumerate(probe):
        item = unit(row)
        top = max(dot(item, t) for t in names)
        e = [math.exp((dot(item, t) - top) / temperature) for t in names]
        no = [p_no(item, t, part.weights_, temperature) for t in names]
        terms = [(1 - no[c]) * e[c] / sum(e) for c in range(4)]
        assert agreeing[i] == pytest.approx(1 - sum(terms), abs=1e-5)
        assert competing[i] == pytest.approx(no[e.index(max(e))], abs=1e-5)
        assert decided[i] == (1 - sum(terms) > max(terms))
