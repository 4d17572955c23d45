"""Transport of class means in loops and logarithms; nearest mean among them; other inner parts; what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.core.parts import make

CASES: list[dict] = [
    {},
    {"passes": 5, "share": 1.0},
    {"passes": 2, "regularization": 0.3, "share": 0.4, "inner": "logistic-regression(c=2.0)"},
]


def check(build, options):
    for items in (1, 3):
        x, y, u, probe = _data(items)
        part = build(**options).fit(x, y, unlabelled=u)
        wanted = _moved(
            x, y, u, options.get("passes", 1), options.get("regularization", 0.05), options.get("share", 0.7)
        )
        assert np.allclose(part.prototypes_, wanted, atol=1e-4), (items, part.prototypes_ - wanted)
        inner = make("classify", options.get("inner", "nearest-mean")).fit(wanted, ["a", "b", "c"])
        assert np.allclose(part.predict_proba(probe), inner.predict_proba([_own(row) for row in probe]), atol=1e-3)
        alone = build(**options).fit(x, y)
        assert np.allclose(alone.prototypes_, _means(x, y), atol=1e-12)
    with pytest.raises(DataError, match="unlabelled"):
        build(**options).fit(x, y, unlabelled=u[:, :3])
    with pytest.raises(DataError, match="unlabelled"):
        build(**options).fit(x, y, unlabelled=np.full_like(u, np.nan))


def _data(items):
    rng = np.random.default_rng(items)
    middle = 1.5 * rng.normal(size=(3, 6))
    y = [c for c in "abc" for _ in range(items)]
    x = np.array([middle["abc".index(c)] for c in y]) + rng.normal(size=(len(y), 6))
    return x, y, middle[rng.integers(0, 3, 17)] + rng.normal(size=(17, 6)), rng.normal(size=(5, 6))


def _own(row):
    mean = sum(row) / len(row)
    spread = math.sqrt(sum((v - mean) ** 2 for v in row) / len(row))
    return [(v - mean) / spread for v in row]


def _means(x, y):
    found = []
    for c in sorted(set(y)):
        rows = [_own(row) for row, label in zip(x, y, strict=True) if label == c]
        found.append([sum(column) / len(rows) for column in zip(*rows, strict=True)])
    return found


def _moved(x, y, unlabelled, passes, regularization, share):
    first = _means(x, y)
    u, p = [_own(row) for row in unlabelled], first
    for _ in range(passes):
        cost = [[sum((a - b) ** 2 for a, b in zip(r, v, strict=True)) for v in u] for r in p]
        most = max(max(row) for row in cost)
        share_of_most = np.array(cost) / most
        f, g = np.zeros(len(p)), np.zeros(len(u))
        for _ in range(3000):
            f = regularization * (math.log(1 / len(p)) - _lse((g - share_of_most) / regularization))
            g = regularization * (math.log(1 / len(u)) - _lse((f - share_of_most.T) / regularization))
        moved = []
        for i in range(len(p)):
            weight = [math.exp((f[i] + g[j] - cost[i][j] / most) / regularization) for j in range(len(u))]
            moved.append(
                [sum(w * v[d] for w, v in zip(weight, u, strict=True)) / sum(weight) for d in range(len(u[0]))]
            )
        p = moved
    return [[share * a + (1 - share) * b for a, b in zip(r, s, strict=True)] for r, s in zip(p, first, strict=True)]


def _lse(rows):
    """The logarithm of the sum of the exponentials of each row."""
    top = rows.max(1)
    return top + np.log(np.exp(rows - top[:, None]).sum(1))
