"""Penalised least squares by steepest descent on loops' sums; scikit-learn has it."""

from __future__ import annotations

import numpy as np

CASES: list[dict] = [{}, {"penalty": 2.5}]


def world(seed, n=60, new=4, old=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, new)) + 0.5
    return x, x @ rng.normal(size=(new, old)) + 0.3 * rng.normal(size=(n, old)) + 1


def unit(row):
    length = sum(v * v for v in row) ** 0.5
    return [v / length for v in row]


def check(build, options):
    x, y = world(0)
    part = build(**options).fit(x, y)
    a, b = np.array([unit(r) for r in x]), np.array([unit(r) for r in y])
    middle = [sum(a[:, j]) / len(a) for j in range(4)]
    centre = [sum(b[:, j]) / len(b) for j in range(3)]
    z, t = a - middle, b - centre
    penalty = options.get("penalty", 0.1) * sum(v * v for v in z.ravel()) / 4
    weight = np.zeros((4, 3))
    for _ in range(20_000):
        step = np.zeros((4, 3))
        for j in range(3):
            rest = z @ weight[:, j] - t[:, j]
            for i in range(4):
                step[i, j] = sum(z[:, i] * rest) + penalty * weight[i, j]
        weight -= 0.02 * step
        if abs(step).max() < 1e-12:
            break
    for row, got in zip(a[:8], part.transform(x[:8]), strict=True):
        wanted = [centre[j] + sum((row[i] - middle[i]) * weight[i, j] for i in range(4)) for j in range(3)]
        assert np.allclose(got, unit(wanted), atol=1e-5)


def check_library(build):
    """scikit-learn's Ridge with the same penalty."""
    from sklearn.linear_model import Ridge

    x, y = world(1, n=90, new=9, old=5)
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    penalty = 0.7 * ((a - a.mean(0)) ** 2).sum() / a.shape[1]
    wanted = Ridge(alpha=penalty).fit(a, b).predict(a)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert np.allclose(build(penalty=0.7).fit(x, y).transform(x), wanted, atol=1e-5)
