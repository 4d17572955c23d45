"""Vectors that are needed for a while and do not fit in memory: in a file without a name, gone when it is closed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tellapart.core.errors import DataError

ROWS_A_BLOCK = 16_384


@contextmanager
def spilled(blocks: Iterable[np.ndarray], folder: Path, *, what: str) -> Iterator[np.ndarray]:
    """[m, d] float32 of blocks [any, d] one under the other, memory-mapped; memory holds a block of them.

    Args:
        what: whose vectors they are, for messages.

    Raises:
        DataError: no room in the folder.
    """
    rows = width = 0
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            for z in blocks:
                file.write(np.ascontiguousarray(z, np.float32).data)
                rows, width = rows + len(z), z.shape[1]
            file.flush()
        except OSError as error:
            raise DataError(
                f"the vectors of {what} do not fit in {folder}: {error.strerror or error}. "
                "Free space there, or name another folder in TELLAPART_CACHE"
            ) from None
        yield np.memmap(file, np.float32, "r", shape=(rows, width)) if rows else np.zeros((0, width), np.float32)
