"""Exact top-k of all queries against all documents, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.nearest import COLUMNS, longest_row, nearest
from tellapart.core.progress import Progress

ROWS = 2048


def topk(
    q: np.ndarray,
    k: np.ndarray,
    depth: int,
    *,
    keep: np.ndarray | None = None,
    block: int = ROWS,
    columns: int = COLUMNS,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The `depth` documents with the greatest inner product for each query, best first, ties by row number.

    Scores are float32; closer ones than float32 can tell apart are computed again exactly, so equal vectors tie.

    Args:
        q: [n, d] and `k`: [m, d]; may be memory-mapped.
        depth: how many; all documents where there are fewer.
        keep: [m] bool, the documents that count.
        block: queries a block; memory is `block` x (`columns` + 8 `depth`) numbers beside the result.
        progress: called with (queries done, queries).

    Returns:
        scores [n, depth] float32 and rows [n, depth] int64.

    Raises:
        DataError: shapes that do not fit, or values that are not finite.
    """
    found = [(s, c) for _, s, c in topk_blocks(q, k, depth, keep=keep, block=block, columns=columns, progress=progress)]
    if not found:
        width = min(depth, len(k) if keep is None else int(np.count_nonzero(keep)))
        return np.empty((0, width), np.float32), np.empty((0, width), np.int64)
    return np.concatenate([s for s, _ in found]), np.concatenate([c for _, c in found])


def topk_blocks(
    q: np.ndarray,
    k: np.ndarray,
    depth: int,
    *,
    keep: np.ndarray | None = None,
    block: int = ROWS,
    columns: int = COLUMNS,
    start: int = 0,
    progress: Progress | None = None,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """`topk`, giving (first query, scores, rows) for one block of queries after the other, from query `start`."""
    check_vectors(q, k)
    if depth < 1:
        raise DataError(f"the number of documents to find is {depth}; it must be at least 1")
    if keep is not None and keep.shape != (len(k),):
        raise DataError(f"keep has shape {keep.shape} for {len(k)} documents")
    longest = longest_row([k])
    for first in range(start, len(q), block):
        piece = np.asarray(q[first : first + block], np.float32)
        yield first, *nearest(piece, [k], depth, keep=keep, longest=longest, columns=columns)
        if progress is not None:
            progress(min(first + block, len(q)), len(q))


def check_vectors(q: np.ndarray, k: np.ndarray) -> None:
    """Two matrices of one width without missing values, or a `DataError` that says which is not."""
    for name, x in (("queries", q), ("documents", k)):
        if x.ndim != 2:
            raise DataError(f"the {name} must be a matrix [n, d], not of shape {x.shape}")
        for first in range(0, len(x), COLUMNS):
            bad = ~np.isfinite(x[first : first + COLUMNS]).all(1)
            if bad.any():
                raise DataError(f"row {first + int(bad.argmax())} of the {name} holds a value that is not finite")
    if q.shape[1] != k.shape[1]:
        raise DataError(
            f"queries have {q.shape[1]} dimensions and documents {k.shape[1]}: they must come from one model"
        )
