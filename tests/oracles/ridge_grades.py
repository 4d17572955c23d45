"""The regression by normal equations, and its strength by really leaving out each item."""

from __future__ import annotations

import numpy as np
import pytest

CASES: list[dict] = [{}, {"ridge": 0.3}, {"ridge": 7.0}]


def check(build, options):
    rng = np.random.default_rng(3)
    for n, d, noise in ((30, 4, 0.2), (30, 4, 30.0), (14, 20, 1.0)):
        x = rng.normal(size=(n, d)) * np.linspace(3, 0.5, d) + 5
        y = 2 + x @ np.linspace(-1, 1, d) + noise * rng.normal(size=n)
        strengths = [options["ridge"]] if options else [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]
        middle = np.trace((x - x.mean(0)).T @ (x - x.mean(0))) / min(n, d)
        wrong = []
        for ridge in strengths:
            total = 0.0
            for i in range(n):
                rest = [j for j in range(n) if j != i]
                total += (y[i] - told(x[rest], y[rest], x[i : i + 1], ridge * middle)[0]) ** 2
            wrong.append(total)
        best = strengths[int(np.argmin(wrong))]
        part = build(**options).fit(x, y)
        assert part.ridge_ == best
        new = rng.normal(size=(6, d)) + 5
        assert part.score(new) == pytest.approx(told(x, y, new, best * middle), rel=1e-4)


def told(x, y, new, strength):
    """The offset is a weight of its own that is not held back."""
    one = np.c_[np.ones(len(x)), x]
    held = np.eye(one.shape[1]) * strength
    held[0, 0] = 0
    return np.c_[np.ones(len(new)), new] @ np.linalg.solve(one.T @ one + held, one.T @ y)
