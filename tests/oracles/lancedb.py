"""An index in lancedb against the exact answer by loops, compared with all and through its graph."""

from __future__ import annotations

from tests.oracles._nearest import check_engine

CASES: list[dict] = [
    {},
    {"links": 16, "construction": 200, "width": 400, "refine": 10},
    {"links": 4, "construction": 32, "width": 2, "refine": 1},
]
LEAST = [1.0, 0.99, 0.02]
GRAPH_FROM = [10_000, 100, 100]


def check(build, options):
    case = CASES.index(options)
    check_engine(build, options, least=LEAST[case], graph_from=GRAPH_FROM[case])
