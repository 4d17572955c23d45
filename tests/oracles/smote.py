"""Points between neighbours by loops: how many, from which items, where on which lines, and what is drawn out."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.core.parts import make

CASES: list[dict] = [
    {},
    {"k": 2, "ratio": 0.6},
    {"under": 0.5, "ratio": 0.5, "seed": 7},
    {"k": 0},
    {"ratio": 0.0, "under": 0.25},
    {"k": 50, "inner": "nearest-mean"},
]
SIZES = {"a": 40, "b": 7, "c": 12, "d": 1}


def planted():
    rng = np.random.default_rng(3)
    y = np.repeat(list(SIZES), list(SIZES.values()))
    x = rng.normal(size=(len(y), 5)) + 100 + 4 * (y[:, None] == np.array(list("abcde")))
    order = rng.permutation(len(y))
    return x[order], y[order]


def check(build, options):
    x, y = planted()
    k, ratio, under = options.get("k", 5), options.get("ratio", 1.0), options.get("under", 1.0)
    made, of = build(**options).balance(x, y)
    cap = round(under * max(SIZES.values()))
    for name, size in SIZES.items():
        mine, genuine = made[of == name], x[y == name]
        wanted = max(min(size, cap), round(ratio * cap))
        assert len(mine) == wanted, (options, name)
        kept, points = mine[: min(size, wanted)], mine[min(size, wanted) :]
        assert len({tuple(row) for row in kept}) == len(kept), "an item is kept twice"
        assert {tuple(row) for row in kept} <= {tuple(row) for row in genuine}, "what is kept is no item"
        shares, neighbours = [], set()
        for at, point in enumerate(points[: len(points) // size * size]):  # rounds of all items, in their order
            other, u = whence(point, kept, at % size, k)
            neighbours.add((at % size, other))
            shares.append(u)
        rest = [{i for i in range(size) if whence(p, kept, i, k)} for p in points[len(points) // size * size :]]
        assert all(rest) and len(set().union(*rest)) >= len(rest), "what is left over does not go to different items"
        if len(points) > 20 and k and size > 1:
            assert 0.3 < np.mean(shares) < 0.7 and min(shares) < 0.2 and max(shares) > 0.8, (options, name)
            assert len(neighbours) > size, "each item has one neighbour only"
    fitted, plain = build(**options).fit(x, y), make("classify", options.get("inner", "logistic-regression"))
    assert np.allclose(fitted.predict_proba(x), plain.fit(made, of).predict_proba(x), atol=1e-6)
    order = np.random.default_rng(1).permutation(len(x))
    assert np.array_equal(build(**options).balance(x[order], y[order])[0], made), "the order of the items matters"
    if ratio and k:
        another = build(**{**options, "seed": 99}).balance(x, y)[0]
        assert not np.array_equal(another, made), "another seed draws the same"
    _refusals(build, x, y)


def whence(point, genuine, i, k):
    """(neighbour, share) of a point between item i and one of its k nearest, None where it lies on no such line."""
    a = genuine[i]
    ranked = sorted((float(((a - b) ** 2).sum()), j) for j, b in enumerate(genuine) if j != i)
    for j in [j for _, j in ranked[:k]] or [i]:
        way = genuine[j] - a
        length = float(way @ way)
        u = float((point - a) @ way) / length if length else 0.0
        if -1e-9 <= u <= 1 + 1e-9 and float(((a + u * way - point) ** 2).sum()) < 1e-16:
            return j, u
    return None


def _refusals(build, x, y):
    with pytest.raises(DataError, match="no label"):
        build().fit(x, [None, *y[1:].tolist()])
    wide = np.zeros((20_000, 400), np.float32)
    with pytest.raises(DataError, match="lower ratio"):
        build().balance(wide, np.concatenate([np.zeros(19_000, int), np.arange(1, 1001)]))


def check_library(build):
    """imbalanced-learn makes as many points, and a cloud of the same mean and spread."""
    library = pytest.importorskip("imblearn.over_sampling")
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(size=(3000, 4)), rng.normal(size=(30, 4)) @ np.diag([1, 2, 3, 4]) + 5])
    y = np.repeat([0, 1], [3000, 30])
    theirs, labels = library.SMOTE(k_neighbors=4, random_state=0).fit_resample(x, y)
    ours, mine = build(k=4).balance(x, y)
    assert np.array_equal(np.bincount(labels), np.bincount(mine))
    a, b = theirs[labels == 1], ours[mine == 1]
    assert np.allclose(a.mean(0), b.mean(0), atol=0.25) and np.allclose(a.std(0), b.std(0), rtol=0.08)
    plain, repeated = x[y == 1].std(0), build(k=0).balance(x, y)[0][-2970:].std(0)
    assert (b.std(0) < plain).all() and np.allclose(repeated, plain, rtol=1e-3), "points lie inside, copies do not"
