"""What the oracles of indexes share: vectors, the exact answer by loops, and a check of what is found by both ways."""

from __future__ import annotations

from unittest import mock

import numpy as np


def planted(items, queries):
    """Unit vectors of 24 numbers from one seed: those that are searched, and those that ask."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(items + queries, 24)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return z[queries:], z[:queries]


def recall(hits, z, queries, k):
    """The share of the k nearest that is found; every score must be the true one."""
    shares = []
    for n, query in enumerate(queries):
        score = [float(np.dot(query.astype(np.float64), v)) for v in z.astype(np.float64)]
        best = sorted(range(len(z)), key=lambda i, s=score: -s[i])[:k]
        found = [int(i) for i in hits.ids[n]]
        assert np.allclose(hits.scores[n], [score[i] for i in found], atol=1e-6)
        shares.append(len(set(best) & set(found)) / k)
    return float(np.mean(shares))


def check_engine(build, options, *, least, graph_from, k=2):
    """An engine elsewhere finds at least this share, its exact search all; from how many items on it has a graph."""
    z, queries = planted(1000, 30)
    with mock.patch("tellapart.parts.index._remote.INDEX_FROM", graph_from):
        index = build(**options)
        index.add([str(i) for i in range(len(z))], z)
        reached = recall(index.search(queries, k), z, queries, k)
    assert reached >= least
    assert recall(index.search_exactly(queries, k), z, queries, k) == 1
    if options.get("width") == 2:
        assert reached < 0.95, "a walk that keeps two items must miss some, or the options are not used"
