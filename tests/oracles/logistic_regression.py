"""Logistic regression: at the minimum the gradient of the penalised loss, written in loops, is zero."""

from __future__ import annotations

import math

import numpy as np

CASES: list[dict] = [{}, {"c": 0.05}, {"c": 30.0}]


def check(build, options):
    c = options.get("c", 1.0)
    for classes in (2, 3):
        rng = np.random.default_rng(classes)
        y = rng.permutation(np.arange(30) % classes)
        x = 5 + 3 * rng.normal(size=(30, 4)) + y[:, None] * np.array([2.0, 0, -1, 0])
        part = build(**options).fit(x, y)
        n, d = x.shape
        mean = [sum(x[i][j] for i in range(n)) / n for j in range(d)]
        r = math.sqrt(sum((x[i][j] - mean[j]) ** 2 for i in range(n) for j in range(d)) / n / d)
        u = [[(x[i][j] - mean[j]) / r for j in range(d)] for i in range(n)]
        p = part.predict_proba(x).astype(float)
        weight = part.weight_ * r
        free = [1] if classes == 2 else range(classes)
        for k in free:
            for j in range(d):
                loss = c * sum((p[i][k] - (y[i] == k)) * u[i][j] for i in range(n))
                assert abs(weight[j][k] + loss) < 1e-3 * (1 + abs(weight[j][k])), (classes, k, j)
            assert abs(sum(p[i][k] - (y[i] == k) for i in range(n))) < 1e-3
        for i in range(n):
            logits = [sum(x[i][j] * part.weight_[j][k] for j in range(d)) + part.bias_[k] for k in range(classes)]
            total = sum(math.exp(v) for v in logits)
            assert all(abs(p[i][k] - math.exp(logits[k]) / total) < 1e-5 for k in range(classes))


def check_library(build):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, size=90)
    x = rng.normal(size=(90, 4)) * 7 + y[:, None]
    u = (x - x.mean(0)) / np.sqrt(x.var(0).mean())
    theirs = LogisticRegression(C=0.3, tol=1e-8, max_iter=5000).fit(u, y).predict_proba(u)
    assert np.allclose(build(c=0.3).fit(x, y).predict_proba(x), theirs, atol=1e-4)
