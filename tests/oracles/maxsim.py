"""Late interaction in plain loops: each query vector's best match, summed over the query and divided by its length."""

from __future__ import annotations

import numpy as np

CASES: list[dict] = [{}]


def check(build, options: dict) -> None:
    rng = np.random.default_rng(5)

    def text() -> np.ndarray:
        rows = rng.normal(size=(rng.integers(1, 8), 10))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    documents, queries = {f"d{n:02d}": text() for n in range(50)}, [text() for _ in range(7)]
    part = build(**options)
    part.add(list(documents), list(documents.values()))
    hits = part.search(queries, 6)
    for number, query in enumerate(queries):
        found = []
        for name, tokens in documents.items():
            total = 0.0
            for q in query:
                total += max(sum(a * b for a, b in zip(q, p, strict=True)) for p in tokens)
            found.append((-total / len(query), name))
        best = sorted(found)[:6]
        np.testing.assert_allclose(hits.scores[number], [-score for score, _ in best], atol=3e-4)
        assert hits.ids[number].tolist() == [name for _, name in best]
