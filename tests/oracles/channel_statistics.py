"""Oracle: the moments of values and of steps by loops; scipy has two of them as well."""

from __future__ import annotations

import itertools
import math

import numpy as np

CASES: list[dict] = [{}, {"channels": 4}]


def check(build, options: dict) -> None:
    """Three channels, one of them constant, where more could be."""
    room = options.get("channels", 16)
    x = np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32)
    x[0], x[1] = x[0] ** 3, 2.1
    (found,) = build(**options).encode([x])
    expected: list[float] = []
    for row in x.tolist():
        expected += _moments(row) + _moments([b - a for a, b in itertools.pairwise(row)])
    expected += [0.0] * (8 * room - len(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def check_library(build) -> None:
    """`scipy.stats` for skewness and kurtosis."""
    from scipy.stats import kurtosis, skew

    x = np.random.default_rng(1).normal(size=(2, 30)) ** 3
    found = build(channels=2).encode([x])[0].reshape(2, 8)
    np.testing.assert_allclose(found[:, 2], skew(x, axis=1), rtol=1e-4)
    np.testing.assert_allclose(found[:, 3], kurtosis(x, axis=1, fisher=False), rtol=1e-4)
    np.testing.assert_allclose(found[:, 7], kurtosis(np.diff(x), axis=1, fisher=False), rtol=1e-4)


def _moments(values: list[float]) -> list[float]:
    n = len(values)
    mean = sum(values) / n
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / n)
    if deviation < 1e-9:
        return [mean, 0.0, 0.0, 0.0]
    third, fourth = (sum(((v - mean) / deviation) ** p for v in values) / n for p in (3, 4))
    return [mean, deviation, third, fourth]
