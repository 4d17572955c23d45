"""Clusters of one size: k-means by halves, which grows with n log n whatever the number of clusters."""

from __future__ import annotations

import numpy as np

ROUNDS = 10


def balanced_order(x: np.ndarray, size: int, *, seed: int) -> np.ndarray:
    """[n] int64 row numbers in an order whose consecutive pieces of `size` rows are clusters; the last may be smaller.

    A set of more than `size` rows is cut in two by balanced 2-means, and so on: rows are ordered by `x · (a - b)` for
    the means a and b of the two parts, which is the best assignment for given sizes, and the means taken again until
    nothing moves. Plain k-means with n / size centres would cost n^2 / size, and its clusters differ in size.

    Args:
        x: [n, d] finite float.
        size: rows a cluster, at least 1.
        seed: of the two rows that every cut begins with.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, size]))
    z, order = np.array(x, np.float32), np.arange(len(x))
    waiting = [(0, len(x))]
    while waiting:
        start, stop = waiting.pop()
        clusters = -(-(stop - start) // size)
        if clusters < 2:
            continue
        middle = clusters // 2 * size
        moved = _halves(z[start:stop], middle, rng)
        z[start:stop], order[start:stop] = z[start:stop][moved], order[start:stop][moved]
        waiting += [(start + middle, stop), (start, start + middle)]
    return order


def _halves(z: np.ndarray, first: int, rng: np.random.Generator) -> np.ndarray:
    """[m] places, those of the first part before those of the second; each part keeps its order."""
    m, total = len(z), z.sum(0)
    a = int(rng.integers(m))
    direction = z[a] - z[(a + 1 + int(rng.integers(m - 1))) % m]
    inside = np.zeros(m, bool)
    for _ in range(ROUNDS):
        before, inside = inside, np.zeros(m, bool)
        inside[np.argpartition(-(z @ direction), first - 1)[:first]] = True
        if (inside == before).all():
            break
        part = inside.astype(np.float32) @ z
        direction = part / first - (total - part) / (m - first)
    return np.concatenate([np.flatnonzero(inside), np.flatnonzero(~inside)])
