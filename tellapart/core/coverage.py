"""Few rows that stand for many: greedy facility location, and how many rows each of them stands for."""

from __future__ import annotations

import heapq

import numpy as np

from tellapart.core.errors import DataError

AT_ONCE = 4000
STEPS = 1e9  # in which gains are told apart: two rows that stand for each other tie but for rounding


def covering(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """([count] rows in the order of choice, [count] how many of the n rows each stands for).

    Each step takes the row j that adds most to sum_i max_{j in S} (c - |x_i - x_j|), with c the greatest distance; of
    equal gains the first row. A row counts for the chosen one that it is nearest to, of equally near ones the one that
    was chosen first; a chosen row that no row counts for, a copy of another one, stands for one. Gains only fall, so
    that a row whose gain was right once is looked at again only when it leads (lazy greedy). Memory is n^2 numbers.
    """
    n = len(x)
    if not 1 <= count <= n:
        raise DataError(f"cannot choose {count} of {n} rows")
    x = np.asarray(x, dtype=np.float64)
    square = (x * x).sum(axis=1)
    distance = np.sqrt(np.maximum(square[:, None] + square[None] - 2 * x @ x.T, 0))
    np.fill_diagonal(distance, 0)
    near = distance.max() - distance
    unit = max(float(near.sum(axis=0).max()), 1e-300) / STEPS
    best = np.zeros(n)
    waiting = [(-round(gain / unit), j, 0) for j, gain in enumerate(near.sum(axis=0).tolist())]
    heapq.heapify(waiting)
    chosen: list[int] = []
    while len(chosen) < count:
        _, j, seen = heapq.heappop(waiting)
        if seen == len(chosen):
            chosen.append(j)
            best = np.maximum(best, near[j])
        else:
            gain = float(np.maximum(near[j] - best, 0).sum())
            heapq.heappush(waiting, (-round(gain / unit), j, len(chosen)))
    held = np.bincount(near[chosen].argmax(axis=0), minlength=count)
    return np.array(chosen), np.maximum(held, 1)


def covering_classes(x: np.ndarray, y: np.ndarray, count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`covering` within each class: ([m] rows, rising; [m] how many each stands for), m = count if all classes fit in.

    Every class gives as large a share, one row at least. A class of more than 4,000 rows is dealt at random into
    pieces, each of which is covered alone, so that memory stays bounded.
    """
    rng, pieces = np.random.default_rng(seed), []
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        cuts = -(-len(rows) // AT_ONCE)
        pieces += np.array_split(rng.permutation(rows) if cuts > 1 else rows, cuts)
    sizes = np.array([len(rows) for rows in pieces])
    chosen, weights = [], []
    for rows, number in zip(pieces, dealt(sizes, count), strict=True):
        rows = np.sort(rows)
        some, held = covering(x[rows], int(number))
        chosen.append(rows[some])
        weights.append(held)
    every = np.concatenate(chosen)
    order = np.argsort(every)
    return every[order], np.concatenate(weights)[order]


def dealt(sizes: np.ndarray, count: int) -> np.ndarray:
    """[c] how many each of c groups gives of `count`: in proportion to its size, at least one, at most all."""
    exact = sizes * min(1.0, count / sizes.sum())
    numbers = np.maximum(np.floor(exact + 1e-9), 1).astype(np.int64)
    for j in np.argsort(-(exact - numbers), kind="stable"):
        if numbers.sum() < count and numbers[j] < sizes[j]:
            numbers[j] += 1
    return numbers
