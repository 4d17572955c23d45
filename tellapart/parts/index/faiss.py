from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import PartError
from tellapart.core.nearest import take
from tellapart.core.parts import part
from tellapart.core.vectors import VectorIndex

ITEMS_A_CELL, MOST_TO_TRAIN_ON = 39, 200_000
FEWEST = 1000
MOST_LINKS, MOST_CELLS = 512, 1_048_576
FOUR_TIMES = 4


@part(
    paper="Douze, Guzhva, Deng, Johnson, Szilvasy, Mazaré, Lomeli, Hosseini and Jégou, The Faiss library, 2024",
    place="retrieve",
    traits=("recall-0.85",),
    needs=("faiss",),
)
class Faiss(VectorIndex):
    """Any index that FAISS's factory makes of a word, such as "OPQ48,IVF1024,PQ48": for those who know which.

    `parameters` are FAISS's own for a search ("nprobe=64", "efSearch=128"). FAISS proposes `oversample` x k items,
    which are scored again by q · z_i in float32, so that codes cost recall and never the score. Below 39 items a cell
    (1,000 without cells) every item is compared. It is trained once more when there are four times as many.

    Deleted and filtered items are left out of what FAISS proposes, which is asked for more until k are there: exact,
    and slower than in `hnsw` and `ivf`, which FAISS tells what to leave out.

    Relations: `hnsw`, `ivf` and `rabitq` are those of its indexes that were measured here; take them first.
    """

    def __init__(
        self,
        *,
        factory: Annotated[str, Field(pattern=r"^[A-Za-z0-9_,()\[\]:]{1,200}$")] = "IVF256,SQ8",
        parameters: Annotated[str, Field(pattern=r"^[A-Za-z0-9_,=.]{0,200}$")] = "nprobe=32",
        oversample: Annotated[int, Field(ge=1, le=1000)] = 4,
    ) -> None:
        super().__init__()
        self.factory, self.parameters, self.oversample = factory, parameters, oversample
        for name, most in (("HNSW", MOST_LINKS), ("NSG", MOST_LINKS), ("IVF", MOST_CELLS)):
            for number in re.findall(rf"{name}(\d+)", factory):
                if not 1 <= int(number) <= most:
                    raise PartError(f"faiss: factory={factory!r}: {name} takes 1 to {most:,}")
        self._forget()

    def _forget(self) -> None:
        self._index: Any = None
        self._trained_on = 0

    def _candidates(self, z: np.ndarray, count: int, allowed: np.ndarray | None) -> np.ndarray | None:
        index = self._built()
        if index is None:
            return None
        found: np.ndarray = index.search(np.ascontiguousarray(z), min(count * self.oversample, index.ntotal))[1]
        return found

    def _built(self) -> Any:
        """FAISS's index over all rows; None while there are too few to train it."""
        import faiss

        rows = sum(len(p) for p in self._parts)
        cells = re.search(r"IVF(\d+)", self.factory)
        if rows < (ITEMS_A_CELL * int(cells[1]) if cells else FEWEST):
            return None
        try:
            if self._index is None or rows > FOUR_TIMES * self._trained_on:
                index = faiss.index_factory(self.dim, self.factory, faiss.METRIC_INNER_PRODUCT)
                some = np.random.default_rng(0).choice(rows, min(rows, MOST_TO_TRAIN_ON), replace=False)
                index.train(take(self._parts, np.sort(some)))
                self._index, self._trained_on = index, rows
                self._tune()
            start = 0
            for z in self._parts:
                done = self._index.ntotal - start
                if done < len(z):
                    self._index.add(np.ascontiguousarray(z[done:]))
                start += len(z)
        except (RuntimeError, AssertionError) as error:
            self._forget()
            raise PartError(f"FAISS makes no index of {self.factory!r} here: {_said(error)}") from None
        return self._index

    def _tune(self) -> None:
        import faiss

        if not self.parameters:
            return
        try:
            faiss.ParameterSpace().set_index_parameters(self._index, self.parameters)
        except RuntimeError as error:
            self._forget()
            raise PartError(
                f"FAISS knows no parameters {self.parameters!r} of {self.factory!r}: {_said(error)}"
            ) from None

    def _write(self, folder: Path) -> None:
        import faiss

        if self._built() is not None:
            faiss.write_index(self._index, str(folder / "index.faiss"))

    def _read(self, folder: Path) -> None:
        import faiss

        if not (folder / "index.faiss").is_file():
            return
        index = faiss.read_index(str(folder / "index.faiss"))
        if index.ntotal != len(self._ids) or index.d != self.dim:
            raise ValueError("index.faiss does not fit the vectors")
        self._index, self._trained_on = index, index.ntotal
        self._tune()


def _said(error: Exception) -> str:
    """The last words of FAISS's message, which name what is wrong."""
    return str(error).rsplit(": ", 1)[-1].strip()[-200:] or type(error).__name__
