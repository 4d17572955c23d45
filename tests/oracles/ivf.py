"""Cells by loops, around the centres that the index itself learnt (read from its file)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

CASES: list[dict] = [{}, {"cells": 12, "probe": 1}, {"cells": 20, "probe": 4}]
K = 5


def planted():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 24))[rng.integers(0, 50, 1020)] + rng.normal(size=(1020, 24))
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    return z[20:], z[:20]


def centres_of(index):
    import faiss

    with tempfile.TemporaryDirectory() as folder:
        index.save(folder)
        (file,) = Path(folder).rglob("lists.faiss")
        lists = faiss.read_index(str(file))
        return lists.quantizer.reconstruct_n(0, lists.nlist)


def check(build, options):
    z, queries = planted()
    index = build(**options)
    index.add([str(i) for i in range(len(z))], z)
    hits, centres = index.search(queries, K), centres_of(index)
    cells = options.get("cells", 25)
    assert len(centres) == cells
    cell_of = [max(range(cells), key=lambda c, v=v: float(v @ centres[c])) for v in z]
    missed = 0
    for n, query in enumerate(queries):
        looked = sorted(range(cells), key=lambda c, q=query: -float(q @ centres[c]))[: options.get("probe", 32)]
        score = {i: float(query @ z[i]) for i in range(len(z))}
        inside = sorted((i for i in score if cell_of[i] in looked), key=lambda i, s=score: -s[i])[:K]
        assert hits.ids[n].tolist() == [str(i) for i in inside]
        missed += inside != sorted(score, key=lambda i, s=score: -s[i])[:K]
    assert missed or options.get("probe") != 1, "one cell must miss some, or the options are not used"
