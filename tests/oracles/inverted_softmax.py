"""Inverted softmax in loops (Smith et al., 2017, equation for P(source | target), queries as sources)."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.hits import Hits

CASES = [{}, {"temperature": 0.4}]


def world(seed, queries=5, documents=9, bank=12, dim=6):
    """Plain lists of unit vectors: queries, documents, bank of queries."""
    rng = np.random.default_rng(seed)
    groups = []
    for n in (queries, documents, bank):
        rows = rng.normal(size=(n, dim)) + 0.7
        groups.append([[float(v) for v in row / np.linalg.norm(row)] for row in rows])
    return groups


def dot(a, b):
    """Inner product."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def order(scored):
    """(id, score) by falling score."""
    return sorted(scored, key=lambda pair: -pair[1])


def agree(hits, expected):
    """The hits are the expected (id, score) lists up to one number added to all scores of a query, and its order."""
    for q, row in enumerate(expected):
        want = order(row)
        found = hits[q]
        assert [i for i, _ in found] == [i for i, _ in want], f"query {q}: {found} is not {want}"
        moved = [a - b for (_, a), (_, b) in zip(found, want, strict=True)]
        assert max(moved) - min(moved) < 1e-3, f"query {q}: scores differ by {moved}"


def plain_hits(queries, documents):
    """Hits with all documents, by cosine."""
    ids = [f"g{j}" for j in range(len(documents))]
    scores = [[dot(q, g) for g in documents] for q in queries]
    return ids, Hits.sorted(np.array([ids] * len(queries)), np.array(scores))


def check(build, options):
    temperature = options.get("temperature", 0.05)
    for seed in range(3):
        queries, documents, bank = world(seed)
        expected = []
        for q in queries:
            row = []
            for j, g in enumerate(documents):
                total = 0.0
                for b in bank:
                    total += math.exp(dot(b, g) / temperature)
                row.append((f"g{j}", math.log(math.exp(dot(q, g) / temperature) / total)))
            expected.append(row)
        ids, hits = plain_hits(queries, documents)
        part = build(**options).fit(np.array(bank), np.array(documents), ids=ids)
        agree(part.rank(np.array(queries), hits, lambda i, z=documents: np.array([z[int(x[1:])] for x in i])), expected)
