"""What the two FAISS indexes of cells share: training, lists, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.nearest import take
from tellapart.core.vectors import VectorIndex

ITEMS_A_CELL = 39
ITEMS_A_CENTRE, ROUNDS = 40, 10
TRAIN_AGAIN = 4
MOST_PROBES = 65_536


class CellIndex(VectorIndex):
    """Items in cells around k-means centres; `code` says in FAISS's words how an item is kept there.

    Where `probe` is 0, a query looks into as many cells as the build of a run's index chose.
    """

    code: str

    def __init__(self, cells: int, probe: int) -> None:
        super().__init__()
        self.cells, self.probe = cells, probe
        self._forget()

    def _most(self, name: str) -> float:
        return float(self._built().nlist) if name == "probe" else super()._most(name)

    def _forget(self) -> None:
        self._lists: Any = None
        self._cells: Any = None
        self._trained_on = 0

    def _look(self, z: np.ndarray, count: int, wanted: int, allowed: np.ndarray | None, options: Any) -> np.ndarray:
        """[b, wanted] rows from the nearest cells, more of them where more is asked for."""
        import faiss

        lists = self._built()
        options.nprobe = self._probe(count)
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
            options.sel = selector
        found: np.ndarray = lists.search(np.ascontiguousarray(z), min(wanted, lists.ntotal), params=options)[1]
        return found

    def _probe(self, count: int) -> int:
        """How many cells are looked into for so many items."""
        return int(min(self.looks("probe") * max(1, count // 100), self._built().nlist))

    def _built(self) -> Any:
        """The lists over all rows; those that came since are added."""
        import faiss

        rows = sum(len(p) for p in self._parts)
        if self._lists is None or rows > TRAIN_AGAIN * self._trained_on:
            cells = max(1, min(self.cells or int(3 * rows**0.5), rows // ITEMS_A_CELL))
            self._lists = faiss.index_factory(self.dim, f"IVF{cells},{self.code}", faiss.METRIC_INNER_PRODUCT)
            self._lists.cp.max_points_per_centroid, self._lists.cp.niter = ITEMS_A_CENTRE, ROUNDS
            some = np.random.default_rng(0).choice(rows, min(rows, ITEMS_A_CENTRE * cells), replace=False)
            self._lists.train(take(self._parts, np.sort(some)))
            self._trained_on = rows
        if self._lists.ntotal < rows:
            self._cells = None
        start = 0
        for part in self._parts:
            done = self._lists.ntotal - start
            if done < len(part):
                self._lists.add(np.ascontiguousarray(part[done:]))
            start += len(part)
        return self._lists

    def _write(self, folder: Path) -> None:
        import faiss

        faiss.write_index(self._built(), str(folder / "lists.faiss"))

    def _read(self, folder: Path) -> None:
        import faiss

        lists = faiss.read_index(str(folder / "lists.faiss"))
        if lists.ntotal != len(self._ids) or lists.d != self.dim:
            raise ValueError("lists.faiss does not fit the vectors")
        self._lists, self._cells, self._trained_on = lists, None, lists.ntotal
