"""An index inside PostgreSQL against the exact answer by loops, compared with all and through its graph."""

from __future__ import annotations

from tests.oracles._nearest import check_engine

CASES: list[dict] = [{}, {"links": 8, "construction": 200, "width": 800, "memory": 64}, {"links": 2, "width": 2}]
LEAST = [1.0, 0.99, 0.0]  # of the last one the engine's own draws decide what can be reached at all
GRAPH_FROM = [10_000, 100, 100]


def check(build, options):
    case = CASES.index(options)
    check_engine(build, options, least=LEAST[case], graph_from=GRAPH_FROM[case])
