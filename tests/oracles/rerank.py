"""The first hits one by one, each with its own score; those behind keep their order."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.hits import Hits
from tellapart.core.scoring import Scoring

CASES: list[dict] = [{}, {"calls": 7}]


def check(build, options):
    rng = np.random.default_rng(0)
    cosines, scores = rng.uniform(-1, 1, (5, 130)), rng.normal(size=(5, 130)) * 9
    ids = [f"i{j:03d}" for j in range(130)]
    hits = Hits.sorted(np.array([ids] * 5), cosines, 120, calls=2)
    ask = Scoring(
        int, lambda id_: int(id_[1:]), lambda q, d: np.array([scores[a, b] for a, b in zip(q, d, strict=True)])
    )
    out = build(**options).fit(np.eye(3)[[0, 1, 2, 0, 1]]).rank(np.eye(3)[[0, 1, 2, 0, 1]], hits, None, scoring=ask)
    calls = options.get("calls", 100)
    assert out.calls == 2 + 5 * calls
    for row in range(5):
        near = sorted(range(130), key=lambda j: -cosines[row, j])[:120]
        first = sorted(near[:calls], key=lambda j: -scores[row, j])
        assert [i for i, _ in out[row]] == [ids[j] for j in [*first, *near[calls:]]]
        assert [s for _, s in out[row][:calls]] == pytest.approx([scores[row, j] for j in first], abs=1e-5)
