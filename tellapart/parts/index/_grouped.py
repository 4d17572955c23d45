"""Many queries in cells at once: one matrix product a cell, where a search query by query reads each cell for each.

The scores of a group of cells go into one buffer, and only what may still be among the best k of its query is looked
at again (`core.nearest.Pool`). Which cells a query looks into is given, so that FAISS's own search finds the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from tellapart.core.nearest import Pool, resolution

FEWEST_A_PIECE, MOST_A_PIECE = 2048, 8192
NUMBERS_A_GROUP = 1_000_000
NUMBERS_A_LOOK = 4_000_000
FIRST_LOOK = 4


class Cells:
    """The float32 vectors in the cells of a FAISS index of flat codes, read where they lie, until it is changed.

    Attributes:
        rows: [items] int64, the items of one cell after those of the other, as far as they are allowed.
        sizes: [cells] how many there are in each.
        starts: [cells] where in `rows` those of a cell start.
    """

    def __init__(self, lists: Any) -> None:
        import faiss

        self._lists, inside = lists, lists.invlists
        whole = [inside.list_size(c) for c in range(lists.nlist)]
        codes = [faiss.rev_swig_ptr(inside.get_codes(c), n * lists.code_size) for c, n in enumerate(whole)]
        self._vectors = [piece.view(np.float32).reshape(-1, lists.d) for piece in codes]
        self._set([faiss.rev_swig_ptr(inside.get_ids(c), n) for c, n in enumerate(whole)])
        self._keep: list[np.ndarray] | None = None

    def _set(self, rows: list[np.ndarray]) -> None:
        self.rows = np.concatenate(rows)
        self.sizes = np.asarray([len(r) for r in rows], np.int64)
        self.starts = np.cumsum(self.sizes) - self.sizes

    def where(self, allowed: np.ndarray) -> Cells:
        """The same with only the rows that are allowed: [rows] bool."""
        some = object.__new__(Cells)
        some._lists, some._vectors = self._lists, self._vectors
        each = np.split(self.rows, self.starts[1:])
        some._keep = [allowed[rows] for rows in each]
        some._set([rows[keep] for rows, keep in zip(each, some._keep, strict=True)])
        return some

    def vectors(self, cell: int) -> np.ndarray:
        """[items, d] of a cell."""
        z = self._vectors[cell]
        return z if self._keep is None or len(z) == self.sizes[cell] else z[self._keep[cell]]


class _Piece(NamedTuple):
    """Scores in a buffer from `at` on: visits `first` to `last` with `width` items of a cell, from its `item`-th on."""

    at: int
    first: int
    last: int
    cell: int
    item: int
    width: int

    @property
    def end(self) -> int:
        return self.at + (self.last - self.first) * self.width

    def of(self, buffer: np.ndarray) -> np.ndarray:
        return buffer[self.at : self.end].reshape(-1, self.width)


class _Visits:
    """Who looks into which cell, cell by cell: `query` [visits], those of cell c from `bounds[c]` on."""

    def __init__(self, probes: np.ndarray, cells: Cells) -> None:
        flat = probes.ravel().astype(np.uint16)
        self.order, self.cells = np.argsort(flat, kind="stable"), cells
        self.query = self.order // max(probes.shape[1], 1)
        self.bounds = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=len(cells.sizes)))])

    def groups(self, most: int) -> Iterator[list[_Piece]]:
        """Pieces of at most so many scores together."""
        group: list[_Piece] = []
        at = 0
        bounds, sizes = self.bounds.tolist(), self.cells.sizes.tolist()
        for cell in np.flatnonzero(np.diff(self.bounds) * self.cells.sizes).tolist():
            first, last = bounds[cell], bounds[cell + 1]
            step = max(1, most // (last - first))
            for item in range(0, sizes[cell], step):
                piece = _Piece(at, first, last, cell, item, min(step, sizes[cell] - item))
                if at and piece.end > most:
                    yield group
                    group, piece = [], piece._replace(at=0)
                group.append(piece)
                at = piece.end
        if group:
            yield group

    def multiply(self, z: np.ndarray, group: list[_Piece], buffer: np.ndarray) -> None:
        """Write the scores of a group."""
        for piece in group:
            vectors = self.cells.vectors(piece.cell)[piece.item : piece.item + piece.width]
            np.matmul(z[self.query[piece.first : piece.last]], vectors.T, out=piece.of(buffer))


def search_cells(
    z: np.ndarray,
    probes: np.ndarray,
    cells: Cells,
    k: int,
    *,
    parts: Sequence[np.ndarray],
    ranks: np.ndarray,
    longest: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The k best items of each query among those in its cells.

    Scores are float32 products; closer ones than float32 can tell apart are computed again exactly, ties go by rank.
    The products are too small for the threads of a BLAS: pieces of the queries go side by side, one core each. Memory
    a core for p probes: at most 8,192 x (12 (4 k + 64) + 18 p) bytes, and 60 MB of buffers.

    Args:
        z: [n, d] float32, contiguous.
        probes: [n, p] the cells of each query, nearest first.
        parts: the vectors by row, as `core.nearest.nearest` takes them.
        ranks: [rows] who comes first among equal scores.
        longest: greatest length of a vector.

    Returns:
        rows [n, k] int64 and scores [n, k] float32, best first; -1 and -inf where there are too few.
    """
    from threadpoolctl import threadpool_limits

    cores = os.cpu_count() or 1
    size = min(max(-(-len(z) // cores), FEWEST_A_PIECE), MOST_A_PIECE)

    def of(start: int) -> tuple[np.ndarray, np.ndarray]:
        piece = slice(start, start + size)
        return _search_piece(z[piece], probes[piece], cells, k, parts, ranks, longest)

    starts = range(0, len(z), size)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(min(len(starts), cores)) as pool:
        found = list(pool.map(of, starts))
    return np.concatenate([rows for rows, _ in found]), np.concatenate([scores for _, scores in found])


def _search_piece(
    z: np.ndarray,
    probes: np.ndarray,
    cells: Cells,
    k: int,
    parts: Sequence[np.ndarray],
    ranks: np.ndarray,
    longest: float,
) -> tuple[np.ndarray, np.ndarray]:
    pool = Pool(len(z), k, 2 * resolution(z, longest), ranks)
    looks = min(probes.shape[1], -(-FIRST_LOOK * k * len(cells.sizes) // max(len(cells.rows), 1)))
    while looks and len(z) * int(cells.sizes[probes[:, :looks]].sum(1).max()) > NUMBERS_A_LOOK:
        looks //= 2
    if looks:
        _look_first(pool, z, probes[:, :looks], cells)
    visits = _Visits(probes[:, looks:], cells)
    room = max(NUMBERS_A_GROUP, len(z))
    buffer, passing = np.empty(room, np.float32), np.empty(room, bool)
    for group in visits.groups(NUMBERS_A_GROUP):
        visits.multiply(z, group, buffer)
        _select(pool, visits, group, buffer, passing)
    scores, rows = pool.finish(z, parts)
    short = ((0, 0), (0, k - rows.shape[1]))
    return np.pad(rows, short, constant_values=-1), np.pad(scores, short, constant_values=-np.inf)


def _look_first(pool: Pool, z: np.ndarray, probes: np.ndarray, cells: Cells) -> None:
    """Take all items of the nearest cells into the pool: what comes after them must be better than its cut."""
    visits, sizes = _Visits(probes, cells), cells.sizes[probes]
    total, width = int(sizes.sum()), int(sizes.sum(1).max())
    if not total:
        return
    products = np.empty(total, np.float32)
    for group in visits.groups(total):
        visits.multiply(z, group, products)
    scores = np.full((len(z), width), -np.inf, np.float32)
    rows = np.full(scores.shape, -1, np.int64)
    count = sizes.ravel()[visits.order]
    place = (np.arange(len(z))[:, None] * width + np.cumsum(sizes, 1) - sizes).ravel()[visits.order]
    item = cells.starts[probes.ravel()[visits.order]]
    start, running = np.cumsum(count) - count, np.arange(total)
    at = np.repeat(place - start, count) + running
    scores.ravel()[at] = products
    rows.ravel()[at] = cells.rows[np.repeat(item - start, count) + running]
    pool.merge_whole(np.arange(len(z)), scores, rows)


def _select(pool: Pool, visits: _Visits, group: list[_Piece], buffer: np.ndarray, passing: np.ndarray) -> None:
    """Take into the pool what may count of a group's scores."""
    for piece in group:
        least = pool.cut[visits.query[piece.first : piece.last]]
        np.greater_equal(piece.of(buffer), least, out=piece.of(passing))
    flat = np.flatnonzero(passing[: group[-1].end])
    if not len(flat):
        return
    at, first, _, cell, item, width = np.asarray(group).T
    which = np.searchsorted(at, flat, side="right") - 1
    visit, place = np.divmod(flat - at[which], width[which])
    query = visits.query[first[which] + visit]
    order = np.argsort(query.astype(np.uint16), kind="stable")
    rows = visits.cells.rows[(visits.cells.starts[cell] + item)[which] + place]
    pool.add(query[order], rows[order], buffer[flat][order])
