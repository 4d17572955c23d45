"""Topics in loops: what is near the keywords, the local outlier factor from its definition, the mean, the cosines."""

from __future__ import annotations

import math

import numpy as np
import pytest

CASES: list[dict] = [{}, {"at_least": 0.6, "fewest": 4, "most": 25, "neighbours": 5, "apart": 1.4, "temperature": 0.2}]


def world(seed):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, 6))
    documents = np.concatenate(
        [centres[rng.integers(0, 3, 90)] + 0.6 * rng.normal(size=(90, 6)), rng.normal(size=(30, 6))]
    )
    words = np.repeat(centres, 4, axis=0) + 0.8 * rng.normal(size=(12, 6))
    return words, np.repeat(["a", "b", "c"], 4), documents


def unit(v):
    length = math.sqrt(sum(float(x) ** 2 for x in v))
    return [float(x) / length for x in v]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def mean(rows):
    return unit([sum(column) / len(rows) for column in zip(*rows, strict=True)])


def factors(points, k):
    """Breunig et al.: how much less dense it is around a point than around its neighbours."""
    k = min(k, len(points) - 1)
    far = [[math.dist(a, b) for b in points] for a in points]
    near, reach = [], []
    for i, row in enumerate(far):
        order = sorted((j for j in range(len(points)) if j != i), key=lambda j: row[j])
        near.append(order[:k])
        reach.append(row[order[k - 1]])
    density = [1 / (sum(max(reach[j], far[i][j]) for j in near[i]) / k + 1e-10) for i in range(len(points))]
    return [sum(density[j] for j in near[i]) / k / density[i] for i in range(len(points))]


def topics(words, names, documents, options, outliers):
    found = {}
    rows = [unit(d) for d in documents]
    for name in sorted(set(names)):
        start = mean([unit(w) for w, n in zip(words, names, strict=True) if n == name])
        best = sorted(rows, key=lambda d: -dot(d, start))[: options.get("most", 30)]
        near = sum(dot(d, start) >= options.get("at_least", 0.3) for d in best)
        best = best[: max(near, options.get("fewest", 10))]
        if outliers and len(best) >= 3:
            apart = factors(best, options.get("neighbours", 20))
            best = [d for d, f in zip(best, apart, strict=True) if f <= options.get("apart", 1.1)]
        found[name] = mean(best)
    return found


def compare(build, options, outliers):
    took_out = 0
    for seed in range(4):
        words, names, documents = world(seed)
        part = build(**options).fit(words, names, unlabelled=documents)
        expected = topics(words, names, documents, options, outliers)
        took_out += expected != topics(words, names, documents, options, False)
        rng = np.random.default_rng(9)
        for item in rng.normal(size=(6, 6)):
            cosine = [dot(unit(item), expected[name]) for name in part.classes_.tolist()]
            assert part.similarity(item[None])[0] == pytest.approx(cosine, abs=1e-5)
            raised = [math.exp(c / options.get("temperature", 0.05)) for c in cosine]
            share = [r / sum(raised) for r in raised]
            assert part.predict_proba(item[None])[0] == pytest.approx(share, abs=1e-4)
            assert part.predict(item[None])[0] == part.classes_[int(np.argmax(cosine))]
    assert bool(took_out) == outliers
    words, names, _ = world(0)
    alone = build(**options).fit(words, names)
    expected = [mean([unit(w) for w, n in zip(words, names, strict=True) if n == name]) for name in "abc"]
    assert np.asarray(alone.means_) == pytest.approx(np.asarray(expected), abs=1e-6)


def check(build, options):
    compare(build, options, outliers=True)
