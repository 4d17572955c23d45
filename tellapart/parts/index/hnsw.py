from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.core.vectors import VectorIndex
from tellapart.core.widening import steps


@part(
    paper="Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using Hierarchical Navigable "
    "Small World graphs, TPAMI 2020",
    place="retrieve",
    traits=("recall-0.95",),
    needs=("faiss",),
    aliases=("faiss-hnsw",),
)
class Hnsw(VectorIndex):
    """A graph of neighbours, walked greedily from a few long links down to many short ones: the fastest single query.

    Each item links to `links` near ones (2 x `links` in the lowest layer), chosen among the `construction` best found
    when it came. A query keeps the `width` best seen while it walks. `width=0` starts at 64 and grows at the build of
    a run's index until the recall@10 that is measured there reaches 0.985, which more items need more of. Measured on
    116,659 glosses in 384 dimensions: recall@10 0.989 at width 64, 25 times the queries a second of `exact`; the build
    takes half a minute on 2 cores.

    Deleted and filtered items are walked through but not returned, and the graph is rebuilt once a fifth is gone. A
    build on several threads is not repeatable bit for bit: `threads=1` is, at several times the time.

    Relations: `ivf` builds faster and is slower at equal recall; `rabitq` needs a twentieth of the memory.
    """

    leaves: ClassVar[Mapping[str, tuple[int, ...]]] = {"width": steps(64, 2462)}

    def __init__(
        self,
        *,
        links: Annotated[int, Field(ge=4, le=128)] = 32,
        construction: Annotated[int, Field(ge=8, le=1000)] = 100,
        width: Annotated[int, Field(ge=0, le=10_000)] = 0,
        threads: Annotated[int, Field(ge=0, le=256)] = 0,
    ) -> None:
        super().__init__()
        self.links, self.construction, self.width, self.threads = links, construction, width, threads
        self._forget()

    def _forget(self) -> None:
        self._graph: Any = None
        self._held: np.ndarray | None = None
        self._plain: dict[int, Any] = {}

    def _candidates(self, z: np.ndarray, count: int, allowed: np.ndarray | None) -> np.ndarray | None:
        import faiss

        graph = self._built()
        width = max(self.looks("width"), 2 * count)
        if allowed is None:
            how = self._plain.get(width) or self._plain.setdefault(width, faiss.SearchParametersHNSW(efSearch=width))
        else:
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
            how = faiss.SearchParametersHNSW(efSearch=width, sel=selector)
        return graph.search(np.ascontiguousarray(z), count, params=how)[1]

    def _rows_of(self, rows: np.ndarray) -> np.ndarray:
        # the graph has its own copy of the vectors, and has just brought these near
        if self._graph is None or self._graph.ntotal != len(self._ids):
            return super()._rows_of(rows)
        if self._held is None:
            import faiss

            graph = self._graph
            held = faiss.rev_swig_ptr(faiss.downcast_index(graph.storage).get_xb(), graph.ntotal * graph.d)
            self._held = held.reshape(graph.ntotal, graph.d)
        return np.asarray(self._held[rows])

    def _built(self) -> Any:
        """The graph over all rows; those that came since are added."""
        if self._graph is not None and self._graph.ntotal == len(self._ids):
            return self._graph
        import faiss

        if self._graph is None:
            self._graph = faiss.IndexHNSWFlat(self.dim, self.links, faiss.METRIC_INNER_PRODUCT)
            self._graph.hnsw.efConstruction = self.construction
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(self.threads or before)
        try:
            start = 0
            for rows in self._parts:
                done = self._graph.ntotal - start
                if done < len(rows):
                    self._held = None
                    self._graph.add(np.ascontiguousarray(rows[done:]))
                start += len(rows)
        finally:
            faiss.omp_set_num_threads(before)
        return self._graph

    def _write(self, folder: Path) -> None:
        import faiss

        faiss.write_index(self._built(), str(folder / "graph.faiss"), faiss.IO_FLAG_SKIP_STORAGE)

    def _read(self, folder: Path) -> None:
        import faiss

        graph = faiss.read_index(str(folder / "graph.faiss"))
        if graph.ntotal != len(self._ids) or graph.d != self.dim:
            raise ValueError("graph.faiss does not fit the vectors")
        vectors = faiss.IndexFlat(graph.d, faiss.METRIC_INNER_PRODUCT)
        vectors.add(np.ascontiguousarray(self._parts[0]))
        vectors.this.disown()
        graph.storage, graph.own_fields = vectors, True
        self._graph = graph
