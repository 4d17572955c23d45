"""HNSW against the exact answer by loops: all of it when the walk is wide, most at the default, less when narrow."""

from __future__ import annotations

from tests.oracles._nearest import planted, recall

CASES: list[dict] = [
    {},
    {"width": 1000, "construction": 400},
    {"links": 4, "construction": 8, "width": 1},
    {"threads": 1, "links": 16},
]
LEAST = [0.97, 1.0, 0.05, 0.95]
K = 2


def check(build, options):
    z, queries = planted(2000, 50)
    index = build(**options)
    index.add([str(i) for i in range(len(z))], z)
    reached = recall(index.search(queries, K), z, queries, K)
    assert reached >= LEAST[CASES.index(options)]
    if options.get("width") == 1:
        assert reached < 0.95, "a walk that keeps one item must miss some, or the options are not used"
    if options.get("threads") == 1:
        again = build(**options)
        again.add([str(i) for i in range(len(z))], z)
        assert (again.search(queries, K).ids == index.search(queries, K).ids).all()


def check_library(build):
    import faiss

    z, queries = planted(2000, 50)
    faiss.omp_set_num_threads(1)
    graph = faiss.IndexHNSWFlat(24, 32, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = 100, 64
    graph.add(z)
    index = build(threads=1)
    index.add([str(i) for i in range(len(z))], z)
    assert (index.search(queries, K).ids == graph.search(queries, K)[1].astype(str)).all()
