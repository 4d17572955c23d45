"""RaBitQ's estimate by loops, around the centres that the index itself learnt (read from its file).

With a query rounded to a few bits the two lists of candidates differ at their ends; without, they are one.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np

CASES: list[dict] = [
    {},
    {"cells": 12, "probe": 3, "oversample": 2, "query_bits": 0},
    {"cells": 8, "oversample": 1, "query_bits": 0},
    {"query_bits": 8, "oversample": 2},
]
LEAST = [1.0, 0.99, 0.99, 0.9]
K = 5


def planted():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 64))[rng.integers(0, 40, 830)] + rng.normal(size=(830, 64))
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    return z[30:], z[:30]


def centres_of(index):
    import faiss

    with tempfile.TemporaryDirectory() as folder:
        index.save(folder)
        (file,) = Path(folder).rglob("lists.faiss")
        lists = faiss.read_index(str(file))
        return lists.quantizer.reconstruct_n(0, lists.nlist)


def estimate(query, v, centre):
    """q · z = q · c + r · c + r · (q - c), the last with r's direction replaced by its signs over what they keep."""
    query, v, centre = (np.asarray(x, float) for x in (query, v, centre))
    residual = v - centre
    length = math.sqrt(residual @ residual)
    signs = np.where(residual > 0, 1, -1) / math.sqrt(len(residual))
    kept = signs @ residual / length
    return query @ centre + residual @ centre + length * (signs @ (query - centre)) / kept


def check(build, options):
    z, queries = planted()
    index = build(**options)
    index.add([str(i) for i in range(len(z))], z)
    hits, centres = index.search(queries, K), centres_of(index)
    cells = options.get("cells", 20)
    assert len(centres) == cells
    cell_of = [max(range(cells), key=lambda c, v=v: float(v @ centres[c])) for v in z]
    agree, exact = [], []
    for n, query in enumerate(queries):
        looked = sorted(range(cells), key=lambda c, q=query: -float(q @ centres[c]))[: options.get("probe", 128)]
        inside = [i for i in range(len(z)) if cell_of[i] in looked]
        inside.sort(key=lambda i, q=query: -estimate(q, z[i], centres[cell_of[i]]))
        score = {i: float(query @ z[i]) for i in range(len(z))}
        best = sorted(inside[: K * options.get("oversample", 10)], key=lambda i, s=score: -s[i])[:K]
        found = [int(i) for i in hits.ids[n]]
        assert np.allclose(hits.scores[n], [score[i] for i in found], atol=1e-6)
        agree.append(len(set(best) & set(found)) / K)
        exact.append(len(set(sorted(score, key=lambda i, s=score: -s[i])[:K]) & set(found)) / K)
    assert np.mean(agree) >= LEAST[CASES.index(options)], np.mean(agree)
    if options:
        assert np.mean(exact) < np.mean(agree), "few candidates must miss some, or the options are not used"
