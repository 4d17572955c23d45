"""Dual inverted softmax in loops, from the formula of the paper; a document is left out of its own bank sum."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.hits import Hits

CASES = [{}, {"query_temperature": 0.5, "document_temperature": 0.2}]


def world(seed, dim=6):
    """Lists of unit vectors: 5 queries, 9 documents, 12 banked queries."""
    rng = np.random.default_rng(seed)
    groups = []
    for n in (5, 9, 12):
        rows = rng.normal(size=(n, dim)) + 0.7
        groups.append([[float(v) for v in row / np.linalg.norm(row)] for row in rows])
    return groups


def dot(a, b):
    """Inner product."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def expected(queries, documents, bank, t1, t2):
    """The published product for every query and document."""
    table = []
    for q in queries:
        row = []
        for j, g in enumerate(documents):
            by_queries = 0.0
            for b in bank:
                by_queries += math.exp(dot(b, g) / t1)
            by_documents = 0.0
            for i, b in enumerate(documents):
                if i != j:
                    by_documents += math.exp(dot(b, g) / t2)
            s = dot(q, g)
            row.append(math.exp(s / t1) / by_queries * math.exp(s / t2) / by_documents)
        table.append(row)
    return table


def check(build, options):
    t1, t2 = options.get("query_temperature", 0.1), options.get("document_temperature", 0.33)
    for seed in range(3):
        queries, documents, bank = world(seed)
        ids = [f"g{j}" for j in range(len(documents))]
        hits = Hits.sorted(np.array([ids] * 5), np.array([[dot(q, g) for g in documents] for q in queries]))
        part = build(**options).fit(np.array(bank), np.array(documents), ids=ids)
        out = part.rank(np.array(queries), hits, lambda i, z=documents: np.array([z[int(x[1:])] for x in i]))
        # Means in place of sums move every score by the same number: log 12 + log 8.
        moved = math.log(len(bank)) + math.log(len(documents) - 1)
        for q, row in enumerate(expected(queries, documents, bank, t1, t2)):
            want = sorted(((math.log(v) + moved, f"g{j}") for j, v in enumerate(row)), reverse=True)
            assert [i for i, _ in out[q]] == [i for _, i in want]
            for (_, score), (value, _) in zip(out[q], want, strict=True):
                assert abs(score - value) < 1e-3 * max(1.0, abs(value)), (score, value)
