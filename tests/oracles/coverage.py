"""Greedy choice by trying every item, class by class."""

from __future__ import annotations

import math

import numpy as np
import pytest

CASES: list[dict] = [{}]
NUMBERS = {
    20: {"a": 10, "b": 6, "c": 4},
    9: {"a": 4, "b": 3, "c": 2},
    40: {"a": 20, "b": 12, "c": 8},
    3: {"a": 1, "b": 1, "c": 1},
}


def check(build, options):
    for asked, number in NUMBERS.items():
        _check(build(**options), asked, number)


def _check(part, asked, number):
    rng = np.random.default_rng(2)
    y = [("a", "b", "c")[k] for k in rng.permutation([0] * 20 + [1] * 12 + [2] * 8)]
    x = rng.normal(size=(40, 4))
    found = part(x, y, asked)
    u = [[v / math.hypot(*row) for v in row] for row in x.tolist()]
    held = {}
    for label, count in number.items():
        members = [i for i in range(40) if y[i] == label]
        most = max(math.dist(u[i], u[j]) for i in members for j in members)
        chosen: list[int] = []
        while len(chosen) < count:
            gains = {
                j: sum(max(most - math.dist(u[i], u[k]) for k in [*chosen, j]) for i in members)
                for j in members
                if j not in chosen
            }
            chosen.append(min(j for j, gain in gains.items() if gain >= max(gains.values()) * (1 - 1e-9)))
        held |= dict.fromkeys(chosen, 0)
        for i in members:
            held[min(chosen, key=lambda k: math.dist(u[i], u[k]))] += 1
    mean = sum(held.values()) / len(held)
    assert found.rows.tolist() == sorted(held) and found.y.tolist() == [y[i] for i in sorted(held)]
    assert found.weight.tolist() == pytest.approx([held[i] / mean for i in sorted(held)])
