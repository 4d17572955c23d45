"""Entropies in loops; that of a uniform cube is known; noise in one encoder and none in another."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [{}, {"k": 2, "dimensions": 0, "floor": 1.0, "by": "kind"}]


def digamma(n):
    return -0.5772156649015329 + sum(1 / i for i in range(1, n))


def check(build, options):
    k, dims, by = options.get("k", 3), options.get("dimensions", 32), options.get("by", "label")
    floor = max(options.get("floor", 0.0), 1e-6)
    rng = np.random.default_rng(0)
    n = 90
    kind = np.arange(n) % 3
    x = 3 * rng.normal(size=(3, 5))[kind] + rng.normal(size=(n, 5))
    words = [f"word{v} thing{i % 7}" for i, v in enumerate(kind)]
    collection = Collection.of({"id": [f"i{i}" for i in range(n)], by: [f"k{v}" for v in kind], "text": words})
    report = build(**options)({"document": x}, collection, seed=0)
    z = x - x.mean(0)
    if dims:
        values, turn = np.linalg.eigh(z.T @ z / n)
        z = z @ turn / np.sqrt(values)
        z = z * np.sign(z[0]) * np.sign((np.linalg.svd(x - x.mean(0), full_matrices=False)[0])[0][::-1])
    want = 0.0
    for c in range(3):
        rows = [i for i in range(n) if kind[i] == c]
        logs = []
        for i in rows:
            away = sorted(max(abs(z[i] - z[j])) for j in rows if j != i)
            logs.append(math.log(2 * max(away[k - 1], floor)))
        want += len(rows) / n * (digamma(len(rows)) - digamma(k) + z.shape[1] * sum(logs) / len(rows))
    assert abs(report.figure("TMI, document").value - want) < 1e-6
    assert report.figure("5 nearest, document").value > 0.9
    if dims:
        wide = rng.normal(size=(n, 5))
        other = build(**options)({"document": wide}, collection, seed=0)
        assert other.figure("TMI, document").value > want, "labels that say nothing leave all variance inside"
        assert other.figure("5 nearest, document").value < 0.7
    # A uniform cube of side a has the entropy d log a, to within the estimate's error.
    many = rng.random((600, 2)) * 4
    cube = Collection.of({"id": [f"i{i}" for i in range(600)], by: ["a"] * 300 + ["b"] * 300})
    raw = build(**{**options, "dimensions": 0, "floor": 0.0})({"document": many}, cube, seed=0)
    assert abs(raw.figure("TMI, document").value - 2 * math.log(4)) < 0.25
