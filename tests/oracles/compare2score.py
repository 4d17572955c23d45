"""Preferences and scores in loops: no change of the scores makes the posterior likelier, and grades come back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"anchors": 4, "pairs": 1500, "step": 0.8, "dim": 3, "hidden": 16, "seed": 3}]


def check(build, options):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(80, 4)) * [3.0, 2.0, 1.0, 0.5]
    y = 5 * np.tanh(x[:, 0] / 2) - x[:, 1]
    part = build(**options).fit(x, y)
    count = options.get("anchors", 10)
    ranked = sorted(range(80), key=lambda i: y[i])
    assert part.at_.tolist() == [ranked[int((a + 0.5) / count * 80)] for a in range(count)]
    wins, scores = part.wins(x[:6]), part.score(x[:6])
    z = part.axes_(x)
    for i in range(6):
        for a in range(count):
            one, other = soft(part, z[i], z[part.at_[a]]), soft(part, z[part.at_[a]], z[i])
            assert wins[i, count, a] == pytest.approx((one + 1 - other) / 2)
            assert wins[i, a, count] == pytest.approx(1 - wins[i, count, a])
        q = best(wins[i])
        assert scores[i] == pytest.approx(q[count], abs=2e-3)
    assert np.corrcoef(np.argsort(np.argsort(part.score(x))), np.argsort(np.argsort(y)))[0, 1] > 0.9
    with pytest.raises(DataError, match="grade for each item"):
        build(**options).fit(x)
    with pytest.raises(DataError, match="10 items"):
        build(**options).fit(x[:5], y[:5])


def soft(part, a, b):
    p = part.net_.predict_proba([[*(a - b), *a, *b]])[0]
    return sum(0.25 * int(level) * p[c] for c, level in enumerate(part.net_.classes_))


def best(wins):
    """The maximum by ascent, coordinate by coordinate."""
    m = len(wins)
    q = [0.0] * m

    def value(at):
        total = -sum(v * v for v in at) / 2
        for i in range(m):
            for j in range(m):
                if i != j:
                    total += wins[i][j] * math.log(0.5 * math.erfc(-(at[i] - at[j]) / math.sqrt(2)))
        return total

    now, width = value(q), 0.5
    while width > 2e-4:
        moved = False
        for i in range(m):
            for sign in (1, -1):
                tried = [*q[:i], q[i] + sign * width, *q[i + 1 :]]
                if (v := value(tried)) > now:
                    q, now, moved = tried, v, True
        width = width if moved else width / 2
    return q
