from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.core.vectors import LONGEST
from tellapart.core.widening import steps
from tellapart.parts.index._cells import MOST_PROBES, CellIndex

QUERIES_A_CELL = 8


@part(
    paper="Sivic and Zisserman, Video Google: A Text Retrieval Approach to Object Matching in Videos, ICCV 2003",
    place="retrieve",
    traits=("recall-0.85",),
    needs=("faiss", "threadpoolctl"),
    aliases=("faiss-ivf",),
)
class Ivf(CellIndex):
    """Items in cells around k-means centres; a query looks into the nearest `probe` cells only.

    Formula: c(z) = argmax_j z · c_j; search the lists of the `probe` greatest q · c_j exactly. `cells=0` takes
    3 x sqrt(n), at most one for 39 items. `probe=0` starts at 32 and grows at the build of a run's index until the
    recall@10 that is measured there reaches 0.985. Many queries at once go cell by cell, a matrix product each, on all
    cores. The centres are learnt anew once there are four times as many items as at training.

    When to use: above some 200,000 items, and for mining: the words of 100,000 WordNet synsets among their glosses,
    with 100 candidates each at `probe=64`, took 18 s on 2 cores with building, a quarter of comparing with all, and
    found 90 % of the negatives that are kept there (benchmarks/results/mining.json).

    Relations: `hnsw` has the better recall for its speed; `rabitq` is this with codes of a bit a dimension.
    """

    code = "Flat"
    leaves: ClassVar[Mapping[str, tuple[int, ...]]] = {"probe": steps(32, MOST_PROBES)}
    queries_a_block = 16_384

    def __init__(
        self,
        *,
        cells: Annotated[int, Field(ge=0, le=65_536)] = 0,
        probe: Annotated[int, Field(ge=0, le=65_536)] = 0,
    ) -> None:
        super().__init__(cells, probe)

    def _candidates(self, z: np.ndarray, count: int, allowed: np.ndarray | None) -> np.ndarray | None:
        import faiss

        return self._look(z, count, count, allowed, faiss.SearchParametersIVF())

    def _best(
        self, z: np.ndarray, wanted: int, k: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        lists = self._built()
        probe = self._probe(wanted)
        if len(z) * probe < QUERIES_A_CELL * lists.nlist:
            return super()._best(z, wanted, k, allowed)
        from tellapart.parts.index._grouped import Cells, search_cells

        self._cells = self._cells or Cells(lists)
        cells = self._cells if allowed is None else self._cells.where(allowed)
        z = np.ascontiguousarray(z)
        probes = lists.quantizer.search(z, probe)[1]
        return search_cells(z, probes, cells, k, parts=self._parts, ranks=self._order, longest=LONGEST)
