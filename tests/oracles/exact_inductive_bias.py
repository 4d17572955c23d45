"""Losses of a space of known truth, drawn and counted; a chance that can be counted is the chance that is fitted."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [
    {}, {"kernel": "linear", "target": 0.9, "by": "kind", "hypotheses": 60, "train": 40, "test": 30}
]  # fmt: skip


def check(build, options):
    by, target, kernel = options.get("by", "label"), options.get("target", 0.5), options.get("kernel", "rbf")
    rng = np.random.default_rng(0)
    n = 120
    kind = np.arange(n) % 2
    x = np.where(kind[:, None], 1.0, -1.0) * np.array([1.0, 0, 0, 0, 0]) + 0.8 * rng.normal(size=(n, 5))
    collection = Collection.of({"id": [f"i{i}" for i in range(n)], by: [f"k{v}" for v in kind]})
    report = build(**options)({"document": x, "k": x[:, :2]}, collection, seed=0)
    rows = np.random.default_rng(0).permutation(n)
    old, new = rows[:60][: options.get("train", 300)], rows[60:][: options.get("test", 200)]
    assert report.facts["training items"] == len(old) and report.facts["test items"] == len(new)
    u = np.array([v / math.sqrt(sum(v * v)) for v in x])
    away = np.array([[sum((u[i] - u[j]) ** 2) for j in range(n)] for i in range(n)])
    width = np.median([away[i, j] for a, i in enumerate(old) for j in old[:a]])
    k = u @ u.T + 1 if kernel == "linear" else np.exp(-away / 2 / width)
    inner = np.linalg.inv(k[np.ix_(old, old)] + 1e-6 * len(old) * np.eye(len(old)))
    y = np.stack([kind == 0, kind == 1], axis=1).astype(float)
    y = y - y[old].mean(0)
    mean = k[np.ix_(new, old)] @ inner @ y[old]
    spread = k[np.ix_(new, new)] - k[np.ix_(new, old)] @ inner @ k[np.ix_(old, new)]
    draws = rng.multivariate_normal(np.zeros(len(new)), spread, size=(4000, 2), method="eigh")
    loss = ((mean.T + draws - y[new].T) ** 2).sum((1, 2)) / (y[new] ** 2).sum()
    figure = report.figure("loss, document")
    low, high = np.quantile(loss, [0.3, 0.7])
    assert low < figure.value < high
    # Where the chance can be counted, the fitted one agrees to within what a hundred losses can say.
    at = float(np.quantile(loss, 0.05))
    again = build(**{**options, "target": at, "hypotheses": 400})({"document": x}, collection, seed=0)
    assert abs(again.figure("inductive bias, document").value - math.log(20)) < 1.0
    nats = report.figure("inductive bias, document")
    share = (loss <= target).mean()
    if share > 0.01:
        assert abs(nats.value + math.log(share)) < 1.5
    harder = build(**{**options, "target": target / 4})({"document": x}, collection, seed=0)
    assert harder.figure("inductive bias, document").value > nats.value
