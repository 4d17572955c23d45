"""Cosines to anchors, one at a time, and what each way of choosing anchors means."""

from __future__ import annotations

import numpy as np

CASES: list[dict] = [
    {},
    {"anchors": 12},
    {"anchors": 12, "choose": "farthest"},
    {"anchors": 9, "choose": "k-means"},
]


def world(seed, n=90):
    """Two spaces that a rotation and a length keep apart, and some clusters."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(9, 6))[np.arange(n) % 9] * 2 + 0.2 * rng.normal(size=(n, 6))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    return x, 3.7 * x @ turn


def cosine(a, b):
    dot = sum(i * j for i, j in zip(a, b, strict=True))
    return dot / (sum(i * i for i in a) ** 0.5 * sum(j * j for j in b) ** 0.5)


def relative(row, anchors):
    r = [cosine(row, a) for a in anchors]
    length = sum(v * v for v in r) ** 0.5
    return [v / length for v in r]


def check(build, options):
    x, y = world(0)
    part = build(**options).fit(x, y, seed=5)
    rows = part.rows_.tolist()
    assert len(set(rows)) == len(rows) == min(options.get("anchors", 300), len(x))
    for i in (0, 17, 55):
        assert np.allclose(part.transform(x[i : i + 1])[0], relative(x[i], x[rows]), atol=1e-5)
        assert np.allclose(part.convert(y[i : i + 1])[0], relative(y[i], y[rows]), atol=1e-5)
    # what keeps angles changes nothing: the promise of the paper
    assert np.allclose(part.transform(x), part.convert(y), atol=1e-5)
    if options.get("choose") == "farthest":
        left, chosen = set(range(len(x))), None
        for first in rows:
            order = [first]
            while len(order) < len(rows):
                far = min(left - set(order), key=lambda i: (max(cosine(x[i], x[j]) for j in order), i))
                order.append(far)
            if sorted(order) == rows:
                chosen = order
        assert chosen, "no first item leads to these anchors by taking the farthest"
    if options.get("choose") == "k-means":
        assert len({r % 9 for r in rows}) >= 7, "anchors do not stand for the clusters"


def check_library(build):
    """scikit-learn's cosine_similarity."""
    from sklearn.metrics.pairwise import cosine_similarity
    from sklearn.preprocessing import normalize

    x, y = world(1)
    part = build(anchors=20).fit(x, y)
    assert np.allclose(part.transform(x), normalize(cosine_similarity(x, x[part.rows_])), atol=1e-5)
    assert np.allclose(part.convert(y), normalize(cosine_similarity(y, y[part.rows_])), atol=1e-5)
