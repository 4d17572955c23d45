"""Blind pairs found by looking at every pair; shares counted one by one."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.report import Examples

CASES: list[dict] = [{}, {"high": 0.8, "low": 0.1, "pairs": 12, "column": "colour"}]


def cosine(x, y):
    """Cosine of two vectors."""
    return sum(a * b for a, b in zip(x, y, strict=True)) / math.dist(x, [0] * len(x)) / math.dist(y, [0] * len(y))


def world(seed, n=64):
    """Pictures in pairs that A sees as one and B mostly does not; texts near their pictures in every third pair."""
    rng = np.random.default_rng(seed)
    a = np.repeat(rng.normal(size=(n // 2, 5)), 2, axis=0) + 0.02 * rng.normal(size=(n, 5))
    b = rng.normal(size=(n, 6))
    b[: n // 4] = np.repeat(rng.normal(size=(n // 8, 6)), 2, axis=0)
    text = a + 0.02 * rng.normal(size=a.shape)
    names = {"label": [f"l{i % 2}" for i in range(n)], "colour": [f"c{(i // 2) % 3}" for i in range(n)]}
    return a, b, text, Collection.of({"id": [f"p{i:03d}" for i in range(n)], **names})


def check(build, options):
    high, low, most = options.get("high", 0.95), options.get("low", 0.6), options.get("pairs", 150)
    column = options.get("column", "label")
    for seed in range(3):
        a, b, text, collection = world(seed)
        report = build(**options)({"image": a, "other": b, "text": text}, collection, seed=seed)
        found = []
        for i in range(len(a)):
            for j in range(i + 1, len(a)):
                if cosine(a[i], a[j]) >= high and cosine(b[i], b[j]) <= low:
                    found.append((cosine(b[i], b[j]) - cosine(a[i], a[j]), i, j))
        assert len(found) >= 10
        taken, want = set(), []
        for _, i, j in sorted(found):
            if i not in taken and j not in taken and len(want) < most:
                taken |= {i, j}
                want.append((i, j))
        shown = next(block for block in report.blocks if isinstance(block, Examples)).items
        assert [tuple(e.ids) for e in shown] == [(f"p{i:03d}", f"p{j:03d}") for i, j in want]
        assert report.figure("blind pairs").value == len(want)
        values = collection.values(column)
        differ = sum(values[i] != values[j] for i, j in want) / len(want)
        assert abs(report.figure("differ, blind").value - differ) < 1e-12
        other = report.figure("differ, control")
        ratio = (differ * len(want) + 0.5) / (len(want) + 1) / ((other.value * other.count + 0.5) / (other.count + 1))
        assert abs(report.figure("enrichment").value - ratio) < 1e-9
        right = 0
        for i, j in want:
            own = cosine(text[i], a[i]) > cosine(text[i], a[j])
            right += own and cosine(text[j], a[j]) > cosine(text[j], a[i])
        assert abs(report.figure("pair accuracy by words, blind").value - right / len(want)) < 1e-12
    check_probe(build, options)
    check_fallback(build, options)


def check_probe(build, options):
    """A knows nothing of the kind, B knows it exactly: the probes say so, and together they know it."""
    rng = np.random.default_rng(9)
    n, column = 200, options.get("column", "label")
    kind = np.arange(n) % 2
    a = np.repeat(rng.normal(size=(n // 2, 8)), 2, axis=0) + 0.01 * rng.normal(size=(n, 8))
    b = np.where(kind[:, None], 1.0, -1.0) * np.array([1.0, 0, 0, 0]) + 0.2 * rng.normal(size=(n, 4))
    collection = Collection.of({column: [f"k{v}" for v in kind]})
    report = build(**options)({"image": a, "other": b}, collection, seed=0)
    assert report.figure("pair accuracy on A, blind").value <= 0.5
    assert report.figure("pair accuracy on B, blind").value == 1.0
    assert report.figure("pair accuracy on A and B, blind").value >= 0.9


def check_fallback(build, options):
    """Thresholds that no pair passes give way to quantiles, in words."""
    a, b, _, collection = world(4)
    report = build(**{**options, "high": 0.9999999, "low": -0.9999})({"image": a, "other": b}, collection, seed=0)
    pairs = sorted(cosine(a[i], a[j]) for i in range(len(a)) for j in range(i + 1, len(a)))
    at = 0.995 * (len(pairs) - 1)
    between = pairs[int(at)] + (at - int(at)) * (pairs[int(at) + 1] - pairs[int(at)])
    assert abs(report.facts["high"] - between) < 1e-6
    assert any("quantiles" in getattr(block, "text", "") for block in report.blocks)
