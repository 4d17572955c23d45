"""CUR in loops over a matrix of scores: the same anchors, the pseudo-inverse from singular values, the best scored."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.core.hits import Hits
from tellapart.core.scoring import Scoring

CASES: list[dict] = [
    {},
    {"calls": 30, "anchors": 12, "anchor_queries": 25, "cutoff": 0.05, "seed": 3},
    {"calls": 9, "anchors": 8, "anchor_queries": 40, "cutoff": 0.0, "seed": 1},
]
ITEMS, ASKED = 150, 260


def world():
    """[ASKED + 4, ITEMS] scores of a few directions and a little noise, which no vector knows."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(ASKED + 4, 6)), rng.normal(size=(ITEMS, 6))
    return np.tanh(a @ b.T / 4) + 0.02 * rng.normal(size=(ASKED + 4, ITEMS))


def scoring(scores, ids, start=0, there=None):
    place = {id_: j for j, id_ in enumerate(ids)}

    def score(queries, documents):
        return np.array([scores[q, d] for q, d in zip(queries, documents, strict=True)])

    return Scoring(lambda row: start + row, lambda id_: place[id_], score, there)


def pseudo_inverse(matrix, cutoff):
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    out = np.zeros((matrix.shape[1], matrix.shape[0]))
    for i, value in enumerate(values):
        if value > cutoff * values[0]:
            out += np.outer(right[i], left[:, i]) / value
    return out


def check(build, options):
    part, scores = build(**options), world()
    ids = [f"i{j:03d}" for j in range(ITEMS)]
    calls, anchors = options.get("calls", 100), options.get("anchors", 50)
    q = np.eye(4)[np.arange(ASKED + 4) % 4]
    fitting = scoring(scores, ids)
    part.fit(q[:ASKED], ids=ids, scoring=fitting)
    rng = np.random.default_rng(options.get("seed", 0))
    rows = np.sort(rng.choice(ASKED, min(options.get("anchor_queries", 200), ASKED), replace=False))
    kept = np.sort(rng.choice(ITEMS, anchors, replace=False))
    assert fitting.calls == len(rows) * ITEMS
    inverse = pseudo_inverse(scores[np.ix_(rows, kept)], options.get("cutoff", 0.01))
    hits = Hits.sorted(np.array([ids[:40]] * 4), np.zeros((4, 40)), 40, calls=7)
    ask = scoring(scores, ids, ASKED)
    out = part.rank(q[ASKED:], hits, None, scoring=ask)
    assert out.calls == 7 + 4 * calls and ask.calls == 4 * calls
    for row in range(4):
        exact = scores[ASKED + row]
        about = [sum(exact[kept[a]] * (inverse[a] @ scores[rows, j]) for a in range(anchors)) for j in range(ITEMS)]
        others = sorted((j for j in range(ITEMS) if j not in set(kept.tolist())), key=lambda j: -about[j])
        looked = [*kept.tolist(), *others[: calls - anchors]]
        best = sorted(looked, key=lambda j: -exact[j])
        found = out[row]
        first = min(len(best), 40)
        assert [i for i, _ in found[:first]] == [ids[j] for j in best[:first]]
        assert [s for _, s in found[:first]] == pytest.approx([exact[j] for j in best[:first]], abs=1e-5)
        beyond = others[calls - anchors :][: 40 - first]
        assert [i for i, _ in found[first:]] == [ids[j] for j in beyond]
    if not options:
        _finds_what_may_be_found(build, scores, ids, q)


def _finds_what_may_be_found(build, scores, ids, q):
    """Items a query may not find stay away, new ones are scored first, and what cannot be is refused."""
    part = build(calls=30, anchors=20).fit(q[:ASKED], ids=ids[:-2], scoring=scoring(scores, ids))
    hits = Hits.sorted(np.array([ids[-2:] + ids[:6]]), np.array([[0.1, 0.2, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]]))
    even = scoring(scores, ids, ASKED, there=lambda row, among: np.array([int(i[1:]) % 2 == 0 for i in among], bool))
    out = part.rank(q[ASKED : ASKED + 1], hits, None, scoring=even)
    known = [i for i, _ in out[0] if i not in ids[-2:]]
    assert known and all(int(i[1:]) % 2 == 0 for i in known) and out.calls == 30
    new = Hits.sorted(np.array([ids[-2:]]), np.zeros((1, 2)))
    few = part.rank(q[:1], new, None, scoring=scoring(scores, ids, there=lambda row, among: np.zeros(len(among), bool)))
    assert dict(few[0]) == pytest.approx({ids[-1]: scores[0, -1], ids[-2]: scores[0, -2]}, abs=1e-6)
    with pytest.raises(PartError, match="leaves none"):
        build(calls=50, anchors=50).fit(q, ids=ids, scoring=scoring(scores, ids))
    with pytest.raises(DataError, match="ids"):
        build().fit(q, scoring=scoring(scores, ids))
