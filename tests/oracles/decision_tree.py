"""A tree by loops: every question that could be asked at a node is tried, and none is better than the one that is."""

from __future__ import annotations

import itertools

import numpy as np

CASES: list[dict] = [{}, {"depth": 2}, {"leaf": 6}, {"depth": 3, "leaf": 3}]


def check(build, options):
    depth, leaf = options.get("depth", 16), options.get("leaf", 1)
    rng = np.random.default_rng(2)
    y = np.arange(48) % 3
    x = (rng.normal(size=(48, 4)) + 0.8 * (y[:, None] == np.arange(4))).astype(np.float32)
    probe = rng.normal(size=(30, 4)).astype(np.float32)
    part = build(**options).fit(x, np.array(list("pqr"))[y])
    leaves = {}
    _walk(part, 0, x.tolist(), y.tolist(), depth, leaf, leaves)
    assert len(leaves) > 2
    for row, said in zip([*x, *probe], part.predict_proba(np.concatenate([x, probe])), strict=True):
        at = 0
        while at not in leaves:
            at = part.below_[at] if row[part.asks_[at]] <= part.threshold_[at] else part.above_[at]
        assert np.allclose(said, leaves[at], atol=1e-6), options


def _walk(part, node, x, y, depth, leaf, leaves):
    """Check a node with its items and all below it; the shares of the leaves are counted."""
    possible = {}
    for f in range(len(x[0])):
        for low, high in itertools.pairwise(sorted({row[f] for row in x})):
            sides = _sides(x, f, (low + high) / 2)
            if min(map(len, sides)) >= leaf:
                possible[f, (low + high) / 2] = sum(_impure([y[i] for i in side]) for side in sides)
    if depth == 0 or len(set(y)) == 1 or not possible:
        assert part.below_[node] < 0, "a question is asked where none may be"
        leaves[node] = [y.count(c) / len(y) for c in range(3)]
        return
    assert part.below_[node] >= 0, "no question is asked where one may be"
    f, t = int(part.asks_[node]), float(part.threshold_[node])
    near = [impure for (g, s), impure in possible.items() if g == f and abs(s - t) < 1e-6]
    assert near and near[0] < min(possible.values()) + 1e-6, "another question leaves the classes purer"
    for child, side in zip((part.below_[node], part.above_[node]), _sides(x, f, t), strict=True):
        _walk(part, int(child), [x[i] for i in side], [y[i] for i in side], depth - 1, leaf, leaves)


def _sides(x, f, t):
    return [[i for i, row in enumerate(x) if (row[f] <= t) == low] for low in (True, False)]


def _impure(y):
    return len(y) * (1 - sum((y.count(c) / len(y)) ** 2 for c in set(y)))
