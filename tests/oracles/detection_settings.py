"""The five settings drawn and counted again, pair by pair, with the distance to the second nearest item as score."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

CASES: list[dict] = [
    {},
    {"score": "knn(k=2)", "by": "kind", "shifted": "odd", "outliers": 0.3},
    {"score": "mahalanobis-ood", "by": "kind", "noise": 3.0},
]


def above(low, high):
    return sum((b > a) + 0.5 * (b == a) for b in high for a in low) / len(low) / len(high)


def nearest(fitted, items):
    """The second smallest distance: what knn with k = 2 is."""
    return [sorted(math.dist(row, other) for other in fitted)[1] for row in items]


def check(build, options):
    rng = np.random.default_rng(7)
    kind = np.arange(160) % 5
    x = 2 * np.eye(6)[kind] + 0.6 * rng.normal(size=(160, 6))
    odd = rng.random(160) < 0.2
    collection = Collection.of({
        "label": [f"k{c}" for c in kind], "kind": [f"k{c}" for c in kind], "odd": odd.tolist(),
    })  # fmt: skip
    report = build(**options)({"document": x}, collection, seed=4)
    told = {b.name: b.value for b in report.blocks if hasattr(b, "value")}

    draw = np.random.default_rng(4)
    order = draw.permutation(5)
    known, new = order[:2].tolist(), order[2:].tolist()
    out = odd if options.get("shifted") else np.zeros(160, bool)
    mine = draw.permutation([i for i in range(160) if kind[i] in known and not out[i]])
    half = -(-len(mine) // 2)
    fit, k = mine[:half], mine[half:]
    right = 0
    middles = {c: np.mean([x[i] for i in fit if kind[i] == c], axis=0) for c in known}
    for i in k:
        right += min(known, key=lambda c, i=i: math.dist(x[i], middles[c])) == kind[i]
    assert told["known items named"] == pytest.approx(right / len(k))

    if options.get("score") == "mahalanobis-ood":
        assert not any("novelty" in name or "outlier" in name for name in told), "a score of labels has no such figure"
        assert told["rejected, shifted"] > 0.5, "known items under three times the spread as noise look alike"
        return
    if options.get("score") != "knn(k=2)":
        return
    u = [i for i in range(160) if kind[i] in new and not out[i]]
    s = [i for i in range(160) if kind[i] in known and out[i]]
    centre = {c: np.mean([x[i] for i in u if kind[i] == c], axis=0) for c in new}
    away = {c: min(math.dist(centre[c], m) for m in middles.values()) for c in new}
    near = sorted(new, key=lambda c: away[c])[:2]
    passed = nearest(x[fit], x[k])
    cut = np.quantile(passed, 0.95)
    for name, rows in (
        ("anomaly detection", s),
        ("novelty detection", u),
        ("open-set recognition", u),
        ("out-of-distribution detection, near", [i for i in u if kind[i] in near]),
        ("out-of-distribution detection, far", [i for i in u if kind[i] not in near]),
    ):
        scores = nearest(x[fit], x[rows])
        assert told[f"AUROC, {name}"] == pytest.approx(above(passed, scores), abs=1e-6), name
        assert told[f"FPR95, {name}"] == pytest.approx(np.mean([v <= cut for v in scores]), abs=1e-6), name
    assert told["rejected, shifted"] == pytest.approx(np.mean([v > cut for v in nearest(x[fit], x[s])]), abs=1e-6)
    some = draw.permutation(u)[: round(len(k) * 0.3 / 0.7)]
    whole = [*x[k], *x[some]]
    inside = nearest(whole, whole)
    assert told["AUROC, outlier detection"] == pytest.approx(above(inside[: len(k)], inside[len(k) :]), abs=1e-6)
    with pytest.raises(DataError, match="no column 'colour'"):
        build(by="colour")({"document": x}, collection, seed=0)
    with pytest.raises(DataError, match="finds nothing unknown"):
        build(score="dsir")({"document": x}, collection, seed=0)
