"""The texts of a column as a stream that begins anew each time: a pool need not fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

TEXTS_A_BLOCK = 4096
USUAL = ("text", "anchor")


class Texts:
    """The texts of a collection that are more than blanks, read from its table by blocks whenever they are asked for.

    Attributes:
        rows: [n] rows of the collection that hold one.

    Raises:
        DataError: no such column, or no texts in it.
    """

    def __init__(self, collection: Collection, column: str = "", *, source: str | Path = "the collection") -> None:
        name = column or next((c for c in USUAL if c in collection.columns), "")
        if not name:
            raise DataError(f"{source} has no texts; name their column with --column: {', '.join(collection.columns)}")
        self.collection, self._column = collection, collection[name]
        self.rows = np.array([r for r, text in enumerate(self._all()) if _said(text)], dtype=np.int64)
        if not len(self.rows):
            raise DataError(f"the column {name!r} of {source} holds no texts")

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        return (text for text in self._all() if _said(text))

    def beside(self, column: str) -> Iterator[object]:
        """What stands in another column beside each text, in order and by blocks."""
        table = self.collection[column]
        for start in range(0, len(table), TEXTS_A_BLOCK):
            low, high = np.searchsorted(self.rows, (start, start + TEXTS_A_BLOCK))
            yield from table.slice(start, TEXTS_A_BLOCK).take(self.rows[low:high] - start).to_pylist()

    def some(self, numbers: np.ndarray) -> Iterator[str]:
        """The texts of these numbers of 0 to n - 1, rising."""
        wanted = self.rows[numbers]
        for start in range(0, len(self._column), TEXTS_A_BLOCK):
            low, high = np.searchsorted(wanted, (start, start + TEXTS_A_BLOCK))
            if low < high:
                block = self._column.slice(start, TEXTS_A_BLOCK)
                yield from block.take(wanted[low:high] - start).to_pylist()

    def ids(self, numbers: np.ndarray) -> list[str]:
        """The ids of these numbers, in their order."""
        return [self.collection.table["id"][int(r)].as_py() for r in self.rows[numbers]]

    def _all(self) -> Iterator[object]:
        for start in range(0, len(self._column), TEXTS_A_BLOCK):
            yield from self._column.slice(start, TEXTS_A_BLOCK).to_pylist()


def _said(text: object) -> bool:
    return isinstance(text, str) and bool(text.strip())
