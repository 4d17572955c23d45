"""An index in lancedb against the exact answer by loops, compared with all and through its graph."""

from __future__ import annotations

from unittest import mock

import numpy as np

CASES: list[dict] = [
    {},
    {"links": 16, "construction": 200, "width": 400, "refine": 10},
    {"links": 4, "construction": 32, "width": 2, "refine": 1},
]
LEAST = [1.0, 0.99, 0.02]
GRAPH_FROM = [10_000, 100, 100]
K = 2


def planted():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(1030, 24)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return z[30:], z[:30]


def recall(hits, z, queries):
    shares = []
    for n, query in enumerate(queries):
        score = [float(np.dot(query.astype(np.float64), v)) for v in z.astype(np.float64)]
        best = sorted(range(len(z)), key=lambda i, s=score: -s[i])[:K]
        found = [int(i) for i in hits.ids[n]]
        assert np.allclose(hits.scores[n], [score[i] for i in found], atol=1e-6)
        shares.append(len(set(best) & set(found)) / K)
    return float(np.mean(shares))


def check(build, options):
    case = CASES.index(options)
    z, queries = planted()
    with mock.patch("tellapart.parts.index._remote.INDEX_FROM", GRAPH_FROM[case]):
        index = build(**options)
        index.add([str(i) for i in range(len(z))], z)
        reached = recall(index.search(queries, K), z, queries)
    assert reached >= LEAST[case]
    assert recall(index.search_exactly(queries, K), z, queries) == 1
    if options.get("width") == 2:
        assert reached < 0.95, "a walk that keeps two items must miss some, or the options are not used"
