"""Rounds of regression with one score really left out for every ridge, by the normal equations."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.core.hits import Hits
from tellapart.core.scoring import Scoring

CASES: list[dict] = [{}, {"calls": 16, "first": 0.25, "rounds": 3}, {"calls": 9, "first": 1.0, "rounds": 1}]
RIDGES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 1e9]
HITS, DIM = 130, 5


def world():
    """Cosines, vectors and scores that lean on the cosine, on a direction of their own and on chance."""
    rng = np.random.default_rng(1)
    v = rng.normal(size=(HITS, DIM))
    v /= np.sqrt((v**2).sum(1, keepdims=True))
    q = v[:2] + 0.3 * rng.normal(size=(2, DIM))
    q /= np.sqrt((q**2).sum(1, keepdims=True))
    own = rng.normal(size=(2, DIM))
    return q, v, 3 * q @ v.T + own @ v.T + 0.2 * rng.normal(size=(2, HITS))


def regression(rows, c, ridge):
    """a, b, u: the square error and ridge * |u|^2 are least."""
    normal = rows.T @ rows + ridge * np.diag([0.0, 0.0] + [1.0] * (rows.shape[1] - 2))
    return np.linalg.solve(normal, rows.T @ c)


def expected(rows, seen, c):
    errors = []
    for ridge in RIDGES:
        missed = []
        for i in range(len(seen)):
            left = [j for j in range(len(seen)) if j != i]
            missed.append(c[i] - rows[seen[i]] @ regression(rows[[seen[j] for j in left]], c[left], ridge))
        errors.append(np.mean(np.square(missed)))
    return rows @ regression(rows[seen], c, RIDGES[int(np.argmin(errors))])


def check(build, options):
    calls, first, rounds = options.get("calls", 100), options.get("first", 0.5), options.get("rounds", 4)
    q, v, scores = world()
    cosines = q @ v.T
    ids = np.array([f"i{j:03d}" for j in range(HITS)])
    ask = Scoring(
        int, lambda id_: int(id_[1:]), lambda a, b: np.array([scores[i, j] for i, j in zip(a, b, strict=True)])
    )
    hits = Hits.sorted(np.tile(ids, (2, 1)), cosines, HITS, calls=3)
    vectors = {id_: v[j] for j, id_ in enumerate(ids)}
    part = build(**options).fit(q)
    out = part.rank(q, hits, lambda wanted: np.array([vectors[i] for i in wanted.tolist()]), scoring=ask)
    assert out.calls == 3 + 2 * calls and ask.calls == 2 * calls
    for row in range(2):
        c = scores[row].astype(np.float32).astype(float)
        rows = np.column_stack([np.ones(HITS), cosines[row].astype(np.float32), v])
        order = sorted(range(HITS), key=lambda j: -cosines[row, j])
        seen = order[: round(first * calls)]
        ends = [round(x) for x in np.linspace(len(seen), calls, rounds + 1)]
        for end in ends[1:]:
            if end > len(seen):
                said = expected(rows, seen, c[seen])
                seen = (
                    seen + sorted((j for j in range(HITS) if j not in seen), key=lambda j: -said[j])[: end - len(seen)]
                )
        best = sorted(seen, key=lambda j: -c[j])
        said = expected(rows, seen, c[seen])
        others = sorted((j for j in range(HITS) if j not in seen), key=lambda j: -said[j])
        assert [i for i, _ in out[row]] == [f"i{j:03d}" for j in [*best, *others]]
        assert [s for _, s in out[row]][:calls] == pytest.approx([c[j] for j in best], abs=1e-5)
    if not options:
        _what_the_scorer_says_beside_the_cosine_is_used(part, q, scores, hits, out)
        with pytest.raises(DataError, match="not been fitted"):
            build().rank(q, hits, None, scoring=ask)


def _what_the_scorer_says_beside_the_cosine_is_used(part, q, scores, hits, out):
    found = [len(set(np.argsort(-scores[row])[:100]) & {int(i[1:]) for i, _ in out[row][:100]}) for row in range(2)]
    near = [len(set(np.argsort(-scores[row])[:100]) & {int(i[1:]) for i, _ in hits[row][:100]}) for row in range(2)]
    assert sum(found) > sum(near)
