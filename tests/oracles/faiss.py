"""Indexes of FAISS's factory against the exact answer by loops, and against FAISS alone."""

from __future__ import annotations

from tests.oracles._nearest import planted, recall

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


def check(build, options):
    z, queries = planted(2000, 40)
    index = build(**options)
    index.add([str(i) for i in range(len(z))], z)
    reached = recall(index.search(queries, K), z, queries, K)
    assert reached >= LEAST[CASES.index(options)]
    if options.get("parameters") == "nprobe=1":
        assert reached < 0.9, "one cell of sixteen must miss some, or the options are not used"


def check_library(build):
    import faiss

    z, queries = planted(2000, 40)
    index = build(factory="IVF16,Flat", parameters="nprobe=3", oversample=1)
    index.add([str(i) for i in range(len(z))], z)
    bare = faiss.index_factory(24, "IVF16,Flat", faiss.METRIC_INNER_PRODUCT)
    bare.train(z)
    bare.add(z)
    bare.nprobe = 3
    assert (index.search(queries, K).ids == bare.search(queries, K)[1].astype(str)).all()
