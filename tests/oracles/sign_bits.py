"""Sign bits by loops. Items of the very Hamming distance at which candidates are cut off may be in or out."""

from __future__ import annotations

import numpy as np

CASES: list[dict] = [{}, {"oversample": 1}, {"oversample": 4}]
K = 5


def check(build, options):
    rng = np.random.default_rng(0)
    z, queries = rng.normal(size=(700, 70)).astype(np.float32), rng.normal(size=(6, 70)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    index = build(**options)
    index.add([str(i) for i in range(300)], z[:300])
    index.search(queries[:1], 1)
    index.add([str(i) for i in range(300, 700)], z[300:])
    hits = index.search(queries, K)
    wanted = min(K * options.get("oversample", 40), 700)
    cut_mattered = False
    for n, query in enumerate(queries):
        distance = [sum((query[j] > 0) != (v[j] > 0) for j in range(70)) for v in z]
        cut = sorted(distance)[wanted - 1]
        score = [sum(float(a) * float(b) for a, b in zip(query, v, strict=True)) for v in z]
        surely = {i for i in range(700) if distance[i] < cut}
        found = [int(i) for i in hits.ids[n]]
        assert all(distance[i] <= cut for i in found)
        assert np.allclose(hits.scores[n], [score[i] for i in found], atol=1e-6)
        assert all(i in found for i in surely if score[i] > score[found[-1]] + 1e-6)
        cut_mattered |= set(found) != set(sorted(range(700), key=lambda i, s=score: -s[i])[:K])
    if options.get("oversample") == 1:
        assert cut_mattered, "with one candidate a place the bits must cost something, or they are not used"
