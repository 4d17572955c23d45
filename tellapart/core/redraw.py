"""Intervals of any figure over items that come in groups, for parts that measure. numpy only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LEAST_GROUPS = 10
Z = 1.96


def interval(
    statistic: Callable[[np.ndarray], float],
    groups: np.ndarray,
    *,
    seed: int,
    draws: int = 1000,
    ends: tuple[float, float] = (0.0, 1.0),
) -> tuple[float | None, float | None]:
    """The 95% interval of a figure when whole groups are drawn again with replacement.

    Args:
        statistic: from how often each item counts ([n] float64, all ones for the data as they are) to the figure;
            NaN where a draw leaves nothing to measure.
        groups: [n] what must stay together.
        ends: what the figure cannot go beyond; a share lies between 0 and 1, a difference of shares between -1 and 1.

    Returns:
        (low, high), widened by sqrt(g / (g - 1)) about the figure; (None, None) for fewer than 10 groups or a figure
        that most draws do not give. Where no draw differs from another, Wilson's interval of a share of 0 or 1 of as
        many groups is put about the figure: equal answers do not make it certain.
    """
    _, number = np.unique(groups, return_inverse=True)
    count = int(number.max()) + 1 if len(number) else 0
    if count < LEAST_GROUPS:
        return None, None
    rng = np.random.default_rng(seed)
    drawn = np.empty(draws)
    for i in range(draws):
        times = np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)
        drawn[i] = statistic(times[number])
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < draws / 2:
        return None, None
    centre = statistic(np.ones(len(number)))
    low, high = np.quantile(drawn, [0.025, 0.975])
    wide = float(np.sqrt(count / (count - 1)))
    below, above = wide * (centre - float(low)), wide * (float(high) - centre)
    if drawn.min() == drawn.max():
        below = above = Z**2 / (count + Z**2)
    return max(ends[0], centre - below), min(ends[1], centre + above)


def mean(values: np.ndarray) -> Callable[[np.ndarray], float]:
    """The mean of values as a figure that `interval` takes."""

    def statistic(times: np.ndarray) -> float:
        total = times.sum()
        return float((times * values).sum() / total) if total else float("nan")

    return statistic
