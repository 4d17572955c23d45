"""What encoders of recordings take: windows of numbers, each a matrix of its own size."""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.errors import DataError


def window(item: Any, part: str) -> np.ndarray:
    """[channels, steps] float64 of one item; anything else raises `DataError`."""
    if not isinstance(item, np.ndarray) or item.ndim != 2 or item.dtype.kind not in "fiu" or not item.size:
        said = f"an array {list(item.shape)} of {item.dtype}" if isinstance(item, np.ndarray) else type(item).__name__
        raise DataError(f"{part} takes windows of recordings, arrays [channels, steps] of numbers, not {said}")
    x = item.astype(np.float64)
    if not np.isfinite(x).all():
        raise DataError(f"{part} takes windows without NaN or infinite values")
    return x
