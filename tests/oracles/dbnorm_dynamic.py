"""Dual dynamic inverted softmax in loops: each bank divides only where the query's first hit is a hub of that bank."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.hits import Hits

CASES = [{}, {"query_temperature": 0.5, "document_temperature": 0.2, "k": 2}]


def world(seed, dim=4):
    """Lists of unit vectors: 8 queries, 12 documents, 5 banked queries, and pairs of the bank with documents."""
    rng = np.random.default_rng(seed)
    groups = []
    for n in (8, 12, 5):
        rows = rng.normal(size=(n, dim)) + 0.2
        groups.append([[float(v) for v in row / np.linalg.norm(row)] for row in rows])
    pairs = [(b, int(rng.integers(12))) for b in range(3)]
    return (*groups, pairs)


def dot(a, b):
    """Inner product."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def nearest(member, documents, without, k):
    """Numbers of the k documents nearest to the member."""
    left = [(dot(member, g), j) for j, g in enumerate(documents) if j not in without]
    return {j for _, j in sorted(left, reverse=True)[:k]}


def check(build, options):
    t1, t2, k = options.get("query_temperature", 0.1), options.get("document_temperature", 0.33), options.get("k", 1)
    touched, spared = 0, 0
    for seed in range(6):
        queries, documents, bank, pairs = world(seed)
        hubs_q, hubs_g = set(), set()
        for b, member in enumerate(bank):
            hubs_q |= nearest(member, documents, {j for a, j in pairs if a == b}, k)
        for i, member in enumerate(documents):
            hubs_g |= nearest(member, documents, {i}, k)
        ids = [f"g{j:02d}" for j in range(len(documents))]
        hits = Hits.sorted(np.array([ids] * 8), np.array([[dot(q, g) for g in documents] for q in queries]))
        part = build(**options).fit(np.array(bank), np.array(documents), ids=ids, pairs=np.array(pairs))
        out = part.rank(np.array(queries), hits, lambda i, z=documents: np.array([z[int(x[1:])] for x in i]))
        for q, query in enumerate(queries):
            top = max(range(len(documents)), key=lambda j, query=query, z=documents: dot(query, z[j]))
            want = []
            for j, g in enumerate(documents):
                score = dot(query, g) / t1 + dot(query, g) / t2
                if top in hubs_q:
                    score -= math.log(sum(math.exp(dot(b, g) / t1) for b in bank) / len(bank))
                if top in hubs_g:
                    others = [b for i, b in enumerate(documents) if i != j]
                    score -= math.log(sum(math.exp(dot(b, g) / t2) for b in others) / len(others))
                want.append((score, ids[j]))
            touched, spared = touched + (top in hubs_q), spared + (top not in hubs_q)
            want.sort(reverse=True)
            assert [i for i, _ in out[q]] == [i for _, i in want], (seed, q)
            for (_, score), (value, _) in zip(out[q], want, strict=True):
                assert abs(score - value) < 1e-3 * max(1.0, abs(value)), (score, value)
    assert touched and spared, "the data must hold both kinds of query"
