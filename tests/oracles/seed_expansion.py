"""Nearness, ranks and agreement item by item, on one, two and three sides; what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"k": 1}, {"k": 5, "agreement": 0.0}, {"k": 50, "agreement": 2.5}]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def near(item, side, seeds, few):
    """The mean of the largest cosines with the seeds, and which seeds those are."""
    cosines = sorted(((cosine(item, side[s]), -s) for s in seeds), reverse=True)[:few]
    return sum(c for c, _ in cosines) / few, {-s for _, s in cosines}


def check(build, options):
    k, weight = options.get("k", 3), options.get("agreement", 1.0)
    rng = np.random.default_rng(0)
    marks = rng.random(40) < 0.3
    for widths in ((5,), (5, 4), (3, 6, 4)):
        x = [rng.normal(size=(40, d)) for d in widths]
        seeds, pool = np.flatnonzero(marks).tolist(), np.flatnonzero(~marks).tolist()
        few = min(k, len(seeds))
        new = [rng.normal(size=(6, d)) for d in widths]
        probe = [np.concatenate([a, b[pool[:5]], b[seeds[:2]]]) for a, b in zip(new, x, strict=True)]
        got = build(**options).fit(x, marks.tolist()).score(probe)
        for i in range(len(probe[0])):
            worst, common = 0.0, set(seeds)
            for side, items in zip(x, probe, strict=True):
                mine, among = near(items[i], side, seeds, few)
                others = [near(side[p], side, seeds, few)[0] for p in pool]
                rank = (1 + sum(other > mine + 1e-8 for other in others)) / (1 + len(pool))
                if mine > max(others):
                    rank /= 1 + mine - max(others)
                worst = max(worst, rank)
                common &= among
            assert abs(got[i] - (-math.log(worst) + weight * len(common) / few)) < 1e-4
    refusals(build)


def refusals(build):
    x, y = np.random.default_rng(1).normal(size=(9, 4)), [1, 1, 0, 0, 0, 0, 0, 0, 0]
    for given, marks, said in (
        (x, [0] * 9, "seeds is empty"), (x, [1] * 9, "pool is empty"), (x, y[:-1], "one mark"),
        (x, [2] * 9, "one mark"), ([x, x[:-1]], y, "every item needs all"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=said):
            build().fit(given, marks)
