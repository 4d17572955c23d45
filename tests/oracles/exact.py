"""The exact search by loops: every cosine, then a sort by (score, id)."""

from __future__ import annotations

import math

import numpy as np

CASES: list[dict] = [{}]


def cosine(a, b):
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a) * sum(float(y) ** 2 for y in b))


def check(build, options):
    rng = np.random.default_rng(0)
    z, queries = rng.normal(size=(300, 6)).astype(np.float32) * 3, rng.normal(size=(4, 6)).astype(np.float32)
    z[50:60] = z[5]
    queries[3] = z[5]
    ids = [f"{i * 7919 % 1000:03d}" for i in range(300)]
    index = build(**options)
    index.add(ids, z)
    hits = index.search(queries, 8)
    for n, query in enumerate(queries):
        scored = sorted((-round(cosine(query, v), 7), i) for v, i in zip(z, ids, strict=True))[:8]
        assert hits.ids[n].tolist() == [i for _, i in scored]
        assert np.allclose(hits.scores[n], [-s for s, _ in scored], atol=1e-6)


def check_library(build):
    import faiss

    rng = np.random.default_rng(1)
    z = rng.normal(size=(3000, 32)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    flat, index = faiss.IndexFlatIP(32), build()
    flat.add(z[100:])
    index.add([str(i) for i in range(2900)], z[100:])
    scores, rows = flat.search(z[:100], 10)
    hits = index.search(z[:100], 10)
    assert (hits.ids == rows.astype(str)).all()
    assert np.allclose(hits.scores, scores, atol=1e-6)
