"""Distances, kernels and hits counted pair by pair; a gap that is planted, and one that is not there."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [{}, {"k": 1, "items": 60}]


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def world(seed, gap, n=160):
    """Pairs on a sphere, a fraction of each side moved by `gap` its own way, as strongly as the item says."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 12))
    q, k = (z + 0.5 * rng.normal(size=z.shape) for _ in range(2))
    # Items that lie along the offset are found for everything as soon as there is one.
    q[:, 0] += gap
    k[:, 1] += gap
    collection = Collection.of(
        {"id": [f"i{i}" for i in range(n)], "split": ["test" if i % 2 else "train" for i in range(n)]}
    )
    return unit(q), unit(k), collection


def check(build, options):
    k, items = options.get("k", 10), options.get("items", 2000)
    q, d, collection = world(0, 0.7)
    report = build(**options)({"q": q, "k": d}, collection, seed=1)
    finding = report.findings()[0]
    rows = [int(i[1:]) for i in finding.ids]
    test = [i for i in range(len(q)) if i % 2]
    assert rows == test if len(test) <= items else set(rows) < set(test)
    old = [i for i in range(len(q)) if i % 2 == 0]
    n = len(rows)
    gap = [sum(q[i][c] - d[i][c] for i in rows) / n for c in range(12)]
    assert abs(report.figure("centroid distance").value - math.hypot(*gap)) < 1e-9
    near = [sum((q[i] - d[i]) ** 2) for i in rows]
    assert abs(report.figure("alignment").value - sum(near) / n) < 1e-9
    for name, a, b in (("queries", q, q), ("documents", d, d), ("across", q, d)):
        kernel = [math.exp(-2 * sum((a[i] - b[j]) ** 2)) for i in rows for j in rows if i != j]
        assert abs(report.figure(f"uniformity, {name}").value - math.log(sum(kernel) / len(kernel))) < 0.2
    if len(test) <= items:
        values = []
        middle = [sum(x[i] for i in old) / len(old) for x in (q, d)]
        flat = [unit(x - m) for x, m in zip((q, d), middle, strict=True)]
        for i in rows:
            hit = [sum(a[i] @ b[j] > a[i] @ b[i] for j in rows) < k for a, b in ((q, d), flat)]
            values.append(float(hit[1]) - float(hit[0]))
        assert np.allclose(finding.values, values)
        better, worse = sum(v > 0 for v in values), sum(v < 0 for v in values)
        better = max(0, better - math.ceil(0.01 * n))
        chance = sum(math.comb(better + worse, i) for i in range(better, better + worse + 1)) / 2 ** (better + worse)
        assert abs(finding.p - chance) < 1e-12
    none = build(**options)({"q": world(3, 0.0)[0], "k": world(3, 0.0)[1]}, collection, seed=0)
    wide = build(**options)({"q": world(3, 9.0)[0], "k": world(3, 9.0)[1]}, collection, seed=0)
    assert none.findings()[0].p > 0.05
    assert none.figure("separability").value < 0.7 < 0.95 < wide.figure("separability").value
