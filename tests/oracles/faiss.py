"""Indexes of FAISS's factory against the exact answer by loops, and against FAISS alone."""

from __future__ import annotations

import numpy as np

CASES: list[dict] = [
    {},
    {"factory": "Flat", "parameters": "", "oversample": 1},
    {"factory": "IVF16,Flat", "parameters": "nprobe=16", "oversample": 1},
    {"factory": "IVF16,Flat", "parameters": "nprobe=1", "oversample": 1},
    {"factory": "PCA20,IVF8,SQ8", "parameters": "nprobe=8", "oversample": 10},
    {"factory": "HNSW16,SQ8", "parameters": "efSearch=200"},
]
LEAST = [1.0, 1.0, 1.0, 0.1, 0.8, 0.97]
K = 5


def planted():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2040, 24)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return z[40:], z[:40]


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
    if options.get("parameters") == "nprobe=1":
        assert reached < 0.9, "one cell of sixteen must miss some, or the options are not used"


def check_library(build):
    import faiss

    z, queries = planted()
    index = build(factory="IVF16,Flat", parameters="nprobe=3", oversample=1)
    index.add([str(i) for i in range(len(z))], z)
    bare = faiss.index_factory(24, "IVF16,Flat", faiss.METRIC_INNER_PRODUCT)
    bare.train(z)
    bare.add(z)
    bare.nprobe = 3
    assert (index.search(queries, K).ids == bare.search(queries, K)[1].astype(str)).all()
