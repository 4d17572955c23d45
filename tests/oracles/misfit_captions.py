"""Canonical correlation by symmetric roots, standardised cosines pair by pair, shares by counting."""

from __future__ import annotations

import functools
import math

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [
    {},
    {"dim": 3, "ridge": 0.1},
    {"folds": 4, "surely": 0.5},
    {"folds": 5, "surely": 0.2, "ridge": 20.0},
]


def world(seed, parts, n=240, wrong=40):
    """Pairs of two views of one thing, of which some are exchanged; parts of one size that `near` keeps whole."""
    rng = np.random.default_rng(seed)
    thing = rng.normal(size=(n, 6))
    x = thing @ rng.normal(size=(6, 9)) + 0.5 * rng.normal(size=(n, 9)) + 1
    y = thing @ rng.normal(size=(6, 7)) + 0.5 * rng.normal(size=(n, 7)) - 1
    bad = rng.permutation(n)[:wrong]
    x[bad] = x[np.roll(bad, 1)]
    return x, y, np.arange(n) % parts, bad


def root(c):
    """C^(-1/2)."""
    values, turn = np.linalg.eigh(c)
    return turn @ np.diag(values**-0.5) @ turn.T


def towers(x, y, dim, ridge):
    middle = [sum(side) / len(side) for side in (x, y)]
    a, b = x - middle[0], y - middle[1]
    inverse = []
    for z in (a, b):
        c = sum(np.outer(row, row) for row in z) / len(z)
        variance = sum(c[i, i] for i in range(len(c))) / len(c)
        inverse.append(root(c + ridge * variance * np.eye(len(c))))
    both = sum(np.outer(p, q) for p, q in zip(a, b, strict=True)) / len(a)
    u, s, v = np.linalg.svd(inverse[0] @ both @ inverse[1])
    dim = min(dim, len(s))
    made = []
    for side, turn in enumerate((u, v.T)):
        map_ = [
            [math.sqrt(s[k]) * (turn[:, k] @ inverse[side])[j] for j in range(len(inverse[side]))] for k in range(dim)
        ]
        made.append(functools.partial(lambda row, m, c: m @ (row - c), m=np.array(map_), c=middle[side]))
    return made


def cosine(a, b):
    return float(a @ b) / math.hypot(*a) / math.hypot(*b)


def check(build, options):
    folds, surely = options.get("folds", 10), options.get("surely", 0.8)
    for seed in range(2):
        x, y, part, bad = world(seed, folds)
        n = len(x)
        collection = Collection.of({
            "text": ["a caption"] * n, "image": ["a.png"] * n, "near": part, "target": [f"t{i // 2}" for i in range(n)],
        })  # fmt: skip
        found = build(**options)({"query": x, "document": y}, collection, seed=seed)
        wanted = [0.0] * n
        for p in range(folds):
            f, g = towers(x[part != p], y[part != p], options.get("dim", 128), options.get("ridge", 3.0))
            own = [i for i in range(n) if part[i] == p]
            s = [[cosine(f(x[i]), g(y[j])) for j in own] for i in own]
            m = len(own)
            rows = [(sum(r) / m, math.sqrt(sum((v - sum(r) / m) ** 2 for v in r) / m)) for r in s]
            turned = [[s[i][j] for i in range(m)] for j in range(m)]
            columns = [(sum(c) / m, math.sqrt(sum((v - sum(c) / m) ** 2 for v in c) / m)) for c in turned]

            def t(i, j, s=s, rows=rows, columns=columns):
                return (s[i][j] - rows[i][0]) / rows[i][1] + (s[i][j] - columns[j][0]) / columns[j][1]

            others = [t(i, j) for i in range(m) for j in range(m) if own[i] // 2 != own[j] // 2]
            for place, i in enumerate(own):
                wanted[i] = sum(value >= t(place, place) for value in others) / len(others)
        scores = found.table["score"].to_pylist()
        assert max(abs(a - b) for a, b in zip(scores, wanted, strict=True)) < 1e-3
        misfits = min(1, 4 * sum(value > 0.75 for value in wanted) / n)
        shown = math.inf
        for c in sorted(scores, reverse=True):
            if misfits * n * (1 - c) >= surely * sum(value >= c for value in scores):
                shown = c
        assert abs(found.shown["misfit-captions"] - shown) < 1e-6 or found.shown["misfit-captions"] == shown
        right = {str(collection.ids[i]) for i in bad}
        told = {row["item"] for row in found.proposed().rows()}
        assert options or len(told & right) >= max(8, 0.5 * len(told)), "most of what is proposed was exchanged"
