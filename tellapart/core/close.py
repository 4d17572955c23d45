"""All pairs of vectors that are close: exactly among some ten thousand, through cells among millions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tellapart.core.features import unit_rows
from tellapart.core.needs import installed, require
from tellapart.core.progress import Progress

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]

BLOCK = 1024
ALL_PAIRS = 20_000
# Among more rows than ALL_PAIRS: near ones of a row, cells a square root of rows, rows a cell to train on, rows to
# measure by, share of their pairs to be found, and how far the bytes of a cell may be wrong about a cosine.
NEAR, CELLS, TRAINED, MEASURED, RECALL, SLACK = 32, 3, 40, 2048, 0.995, 0.02


def cosine_pairs(z: np.ndarray, threshold: float, progress: Progress | None = None) -> Pairs:
    """All pairs of rows with a cosine of at least `threshold`: (a, b, cosine) with a < b, in rising order.

    Up to 20,000 rows all pairs are compared, on FAISS where it is installed, otherwise in numpy. Among more, with
    FAISS, a row is compared with the 32 nearest of the cells around it, a byte a number, of as many cells as find 0.995
    of the pairs of 2,048 rows that were compared with all; what is found so is compared again. Rows without length are
    close to nothing.

    Args:
        z: [n, d], in memory or memory-mapped; beside it a byte for each number is held.
        progress: called with (rows done, rows).
    """
    found = _through_cells if len(z) > ALL_PAIRS and installed("faiss") else _among_all
    pairs = [np.concatenate(parts) for parts in zip(_none(), *found(z, threshold, progress), strict=True)]
    key = pairs[0] * len(z) + pairs[1]
    _, kept = np.unique(key, return_index=True)
    return pairs[0][kept], pairs[1][kept], np.minimum(pairs[2][kept], 1.0).astype(np.float32)


def _none() -> Pairs:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)


def _unit(z: np.ndarray) -> np.ndarray:
    return unit_rows(np.asarray(z, np.float32))


def _among_all(z: np.ndarray, threshold: float, progress: Progress | None) -> Iterator[Pairs]:
    z = _unit(z)
    index = None
    if installed("faiss"):
        index = require("faiss", "searching neighbours").IndexFlatIP(z.shape[1])
        index.add(z)
    for start in range(0, len(z), BLOCK):
        block = z[start : start + BLOCK]
        if index is not None:
            limits, scores, b = index.range_search(block, float(np.nextafter(np.float32(threshold), np.float32(-1))))
            a = np.repeat(np.arange(len(block)), np.diff(limits.astype(np.int64))) + start
        else:
            sims = block @ z[start:].T
            rows, columns = np.nonzero(sims >= threshold)
            a, b, scores = rows + start, columns + start, sims[rows, columns]
        keep = a < b
        yield a[keep], b[keep].astype(np.int64), scores[keep]
        if progress is not None:
            progress(min(start + BLOCK, len(z)), len(z))


def _through_cells(z: np.ndarray, threshold: float, progress: Progress | None) -> Iterator[Pairs]:
    faiss = require("faiss", "searching neighbours")
    n, width = z.shape
    cells = int(CELLS * n**0.5)
    some = np.sort(np.random.default_rng(0).choice(n, min(n, TRAINED * cells), replace=False))
    index = faiss.index_factory(width, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid, index.by_residual = 10, TRAINED, False
    index.train(_unit(z[some]))
    for start in range(0, n, BLOCK):
        index.add(_unit(z[start : start + BLOCK]))
    rows = np.linspace(0, n - 1, MEASURED).astype(np.int64)
    there = np.minimum(_count(z, rows, threshold), NEAR - 1).sum()
    index.nprobe = 1
    while index.nprobe < cells and len(_near(index, z, rows, threshold)[0]) < RECALL * there:
        index.nprobe *= 2
    for start in range(0, n, BLOCK):
        yield _near(index, z, np.arange(start, min(start + BLOCK, n)), threshold)
        if progress is not None:
            progress(min(start + BLOCK, n), n)


def _near(index: Any, z: np.ndarray, rows: np.ndarray, threshold: float) -> Pairs:
    """Pairs of these rows with what the index has near them, a < b, compared in float32."""
    q = _unit(z[rows])
    scores, found = index.search(q, NEAR)
    query, place = np.nonzero((found >= 0) & (scores >= threshold - SLACK) & (found != rows[:, None]))
    a, b = rows[query], found[query, place].astype(np.int64)
    cosine = np.einsum("nd,nd->n", q[query], _unit(z[b])) if len(b) else np.zeros(0, np.float32)
    keep = cosine >= threshold
    return np.minimum(a, b)[keep], np.maximum(a, b)[keep], cosine[keep]


def _count(z: np.ndarray, rows: np.ndarray, threshold: float) -> np.ndarray:
    """[rows] how many others of all are as close to these rows."""
    q = _unit(z[rows])
    found = -(np.linalg.norm(q, axis=1) >= threshold).astype(np.int64)
    for start in range(0, len(z), BLOCK):
        found += np.count_nonzero(q @ _unit(z[start : start + BLOCK]).T >= threshold, axis=1)
    return np.maximum(found, 0)
