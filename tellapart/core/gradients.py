"""Features of pictures without any weights: histograms of oriented gradients. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.errors import DataError

CELLS, BINS, ROWS = 4, 8, 512


def oriented_gradients(pixels: Any) -> np.ndarray:
    """[n, 128] float32: for each of 4 x 4 cells, how much brightness rises in each of 8 directions.

    Pictures of a colour and its negative differ, as do mirrored and turned ones. Cells are weighed by the root of what
    they hold, the whole row to unit length, and the mean over the pictures is taken off, since all rows are positive.

    Args:
        pixels: [n, h, w] or [n, h, w, 3], any numbers; at least 8 x 8.

    Raises:
        DataError: another shape, or values that are not finite.
    """
    x = np.asarray(pixels)
    if x.ndim not in (3, 4) or not len(x) or min(x.shape[1:3]) < 2 * CELLS or (x.ndim == 4 and x.shape[3] != 3):
        raise DataError(
            f"pixels must be [n, h, w] or [n, h, w, 3] of at least {2 * CELLS} x {2 * CELLS}, not {x.shape}"
        )
    out = np.empty((len(x), CELLS * CELLS * BINS), dtype=np.float32)
    for start in range(0, len(x), ROWS):
        block = x[start : start + ROWS].astype(np.float64)
        out[start : start + ROWS] = _block(block if block.ndim == 3 else block.mean(axis=3))
    if not np.isfinite(out).all():
        raise DataError("pixels has values that are not finite")
    return out - out.mean(axis=0)


def _block(grey: np.ndarray) -> np.ndarray:
    n, h, w = grey.shape
    down, right = np.gradient(grey, axis=1), np.gradient(grey, axis=2)
    angle = np.floor((np.arctan2(down, right) / (2 * np.pi) * BINS + 0.5) % BINS).astype(np.int64) % BINS
    cell = (np.arange(h) * CELLS // h)[:, None] * CELLS + np.arange(w) * CELLS // w
    place = (np.arange(n)[:, None, None] * CELLS * CELLS + cell) * BINS + angle
    sums = np.bincount(place.ravel(), np.hypot(down, right).ravel(), minlength=n * CELLS * CELLS * BINS)
    rows = np.sqrt(sums).reshape(n, -1)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)
