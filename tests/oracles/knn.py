"""The distance to the k-th nearest vector by loops."""

from __future__ import annotations

import math

import numpy as np

CASES: list[dict] = [{}, {"k": 1}, {"k": 12}]


def check(build, options):
    rng = np.random.default_rng(0)
    stored, probe = rng.normal(size=(40, 6)) + 2, rng.normal(size=(9, 6))
    got = build(**options).fit(stored).score(probe)
    for i, x in enumerate(probe):
        distances = sorted(math.sqrt(sum((x[j] - z[j]) ** 2 for j in range(6))) for z in stored)
        assert abs(got[i] - distances[options.get("k", 5) - 1]) < 1e-5


def check_library(build):
    from sklearn.datasets import load_digits
    from sklearn.neighbors import NearestNeighbors

    x, _ = load_digits(return_X_y=True)
    theirs, _ = NearestNeighbors(n_neighbors=5).fit(x[:1200]).kneighbors(x[1200:])
    assert np.allclose(build(k=5).fit(x[:1200]).score(x[1200:]), theirs[:, 4], rtol=1e-5)
