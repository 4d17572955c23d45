"""HNSW against the exact answer by loops: all of it when the walk is wide, most at the default, less when narrow."""

from __future__ import annotations

import numpy as np

CASES: list[dict] = [
    {},
    {"width": 1000, "construction": 400},
    {"links": 4, "construction": 8, "width": 1},
    {"threads": 1, "links": 16},
]
LEAST = [0.97, 1.0, 0.05, 0.95]
K = 2


def planted():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2050, 24)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return z[50:], z[:50]


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
    z, queries = planted()
    index = build(**options)
    index.add([str(i) for i in range(len(z))], z)
    reached = recall(index.search(queries, K), z, queries)
    assert reached >= LEAST[CASES.index(options)]
    if options.get("width") == 1:
        assert reached < 0.95, "a walk that keeps one item must miss some, or the options are not used"
    if options.get("threads") == 1:
        again = build(**options)
        again.add([str(i) for i in range(len(z))], z)
        assert (again.search(queries, K).ids == index.search(queries, K).ids).all()


def check_library(build):
    import faiss

    z, queries = planted()
    faiss.omp_set_num_threads(1)
    graph = faiss.IndexHNSWFlat(24, 32, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = 100, 64
    graph.add(z)
    index = build(threads=1)
    index.add([str(i) for i in range(len(z))], z)
    assert (index.search(queries, K).ids == graph.search(queries, K)[1].astype(str)).all()
