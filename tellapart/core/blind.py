"""Pairs that one encoder takes for the same and another does not, beside others that are as near. numpy only."""

from __future__ import annotations

import numpy as np

FEWEST = 10
_SHARE_HIGH, _SHARE_LOW = 0.005, 0.2


def blind_pairs(
    a: np.ndarray, b: np.ndarray, high: float, low: float, most: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """[p, 2] blind pairs, [p, 2] controls of the same nearness under A, and the thresholds that were used.

    Args:
        a, b: [n, d] and [n, e] unit rows. high, low: of the cosines; quantiles stand in where they pass too few pairs.
        most: so many pairs at most, each picture in one of them.
    """
    i, j = np.triu_indices(len(a), 1)
    s, r = (a @ a.T)[i, j], (b @ b.T)[i, j]
    if ((s >= high) & (r <= low)).sum() < FEWEST:
        high = float(np.quantile(s, 1 - _SHARE_HIGH))
        low = float(np.quantile(r[s >= high], _SHARE_LOW))
    near = np.flatnonzero(s >= high)
    near = near[np.argsort(r[near] - s[near], kind="stable")]
    taken = np.zeros(len(a), dtype=bool)
    blind: list[int] = []
    control: list[int] = []
    for p in near[r[near] <= low]:
        if not (taken[i[p]] or taken[j[p]]) and len(blind) < most:
            taken[[i[p], j[p]]] = True
            blind.append(int(p))
    enough = min(len(s), 4 * len(blind) + 1)
    left = np.setdiff1d(np.flatnonzero(s >= min(high, np.partition(s, -enough)[-enough])), blind)
    left = left[np.argsort(s[left], kind="stable")]
    for p in blind[: len(left)]:
        at = int(np.searchsorted(s[left], s[p]))
        at = int(rng.integers(max(0, at - 10), min(len(left), at + 10)))
        control.append(int(left[at]))
        left = np.delete(left, at)
    both = [np.stack([i[found], j[found]], axis=1) for found in (np.array(blind, int), np.array(control, int))]
    return both[0], both[1], (high, low)
