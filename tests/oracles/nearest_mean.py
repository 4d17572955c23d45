"""The nearest mean by loops."""

from __future__ import annotations

import math

import numpy as np

CASES: list[dict] = [{}]


def check(build, options):
    for items in (1, 4, 7):
        _check(build(**options), items)


def _check(part, items):
    rng = np.random.default_rng(0)
    y = [f"c{i % 3}" for i in range(3 * items)]
    x = rng.normal(size=(len(y), 5)) + 0.4 * np.array([int(v[1]) for v in y])[:, None]
    probe = rng.normal(size=(6, 5))
    got = part.fit(x, y).predict_proba(probe)

    means = {}
    for c in sorted(set(y)):
        rows = [x[i] for i in range(len(y)) if y[i] == c]
        means[c] = [sum(r[j] for r in rows) / len(rows) for j in range(5)]
    if items > 1:
        spread = sum((x[i][j] - means[y[i]][j]) ** 2 for i in range(len(y)) for j in range(5)) / (5 * (len(y) - 3))
    else:
        centre = [sum(x[i][j] for i in range(len(y))) / len(y) for j in range(5)]
        spread = sum((x[i][j] - centre[j]) ** 2 for i in range(len(y)) for j in range(5)) / (5 * (len(y) - 1))
    for i, p in enumerate(probe):
        likely = [math.exp(-sum((p[j] - m[j]) ** 2 for j in range(5)) / (2 * spread)) for m in means.values()]
        for c in range(3):
            assert abs(got[i, c] - likely[c] / sum(likely)) < 1e-5


def check_library(build):
    from sklearn.datasets import load_digits
    from sklearn.neighbors import NearestCentroid

    x, y = load_digits(return_X_y=True)
    x = x[:, x.std(axis=0) > 1]
    theirs = NearestCentroid().fit(x[:900], y[:900]).predict(x[900:])
    assert np.array_equal(build().fit(x[:900], y[:900]).predict(x[900:]), theirs)
