"""Entropies of counted values, a default that was planted, gaps answered by a probe and by a judge, result lists."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.judging import offer

CASES: list[dict] = [
    {},
    {"concept": "sort", "columns": "shape", "default": 0.6, "least": 50, "probe": True},
    {"judge": "shapes", "columns": "shape", "least": 20, "most": 1},
]
N = 600
SHAPES = ("round", "square", "star")


def world(seed, planted, options):
    """Three sweets of three shapes, which vectors show; biscuits are round in 24 of 25 where that is planted."""
    rng = np.random.default_rng(seed)
    sweet = np.arange(N) % 3
    shape = rng.integers(0, 3, N)
    if planted:
        shape = np.where((sweet == 0) & (rng.random(N) < 0.94), 0, shape)
    x = np.eye(3)[shape] * 4 + rng.normal(size=(N, 3)) * 0.3
    told = [SHAPES[v] for v in shape]
    if options.get("probe"):
        told = [t if i % 4 else "" for i, t in enumerate(told)]
    names = ("biscuit", "cake", "pie")
    columns = {"id": [f"i{i:03d}" for i in range(N)], options.get("concept", "label"): [names[v] for v in sweet]}
    columns |= {"shape": told, "colour": ["red", "blue"] * (N // 2)}
    return x, sweet, shape, Collection.of(columns)


def entropy(values, k):
    share = [count / len(values) for count in Counter(values).values()]
    return -sum(p * math.log(p) for p in share) / math.log(k)


def check(build, options):
    x, sweet, shape, collection = world(0, True, options)
    offer("shapes", lambda question: SHAPES[shape[int(question.item[1:])]])
    k = options.get("k", 10)
    report = build(**options)({"document": x, "q": x, "k": x}, collection, seed=1)
    wanted = [entropy(shape[sweet == c].tolist(), 3) for c in range(3)]
    figure = report.figure("diversity of shape")
    assert figure.value == pytest.approx(sum(wanted) / 3, abs=1e-6)
    assert report.blocks[-1].rows[0][:2] == ["biscuit", "shape"]
    assert report.blocks[-1].rows[0][3] == pytest.approx(wanted[0], abs=1e-6)
    found = {f.figure.name: f for f in report.findings()}
    planted = found["default shape of biscuit"]
    mine = shape[sweet == 0]
    count, n, base = int((mine == 0).sum()), len(mine), options.get("default", 0.8)
    p = sum(math.comb(n, i) * base**i * (1 - base) ** (n - i) for i in range(count, n + 1))
    assert planted.figure.value == pytest.approx(count / n) and planted.p == pytest.approx(p, rel=1e-6) and p < 1e-4
    assert all(shape[int(e.ids[0][1:])] != 0 and sweet[int(e.ids[0][1:])] == 0 for e in planted.examples)
    assert len(found) == (1 if "most" in options else 3 if "columns" in options else 6)
    assert all(f.p > 0.5 for name, f in found.items() if f is not planted)
    check_lists(report, x, shape, k)
    x, _, shape, clean = world(1, False, options)
    assert min(f.p for f in build(**options)({"document": x}, clean, seed=1).findings()) > 0.5
    with pytest.raises(DataError, match="no column 'taste'"):
        build(**{**options, "columns": "taste"})({"document": x}, clean, seed=0)


def check_lists(report, x, shape, k):
    """Of every query's first documents; vectors show the shape, so results are alike and random lists are not."""
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    lists = []
    for row in range(N):
        order = np.argsort(-(z @ z[row]), kind="stable")[:k]
        lists.append(entropy(shape[order].tolist(), 3))
    assert report.figure("shape in results").value == pytest.approx(sum(lists) / N, abs=1e-3)
    assert report.figure("shape in random lists").value > 0.5
