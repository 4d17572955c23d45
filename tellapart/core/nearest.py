"""The best k columns for each row of a score matrix that is never whole: what every search here stands on.

On a CPU the selection, not the matrix product, is what makes a plain top-k slow. Here a block of scores is compared
once with the worst score that still counts, and only what passes is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

COLUMNS = 4096
ROUNDING = 2.0**-24
PAIRS_A_CHUNK = 256
NUMBERS_TO_OVERLAP = 1_000_000


def exact_scores(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """[n] float32 `q[i] · k[i]`, summed in float64 in one fixed order: equal vectors give equal bits.

    A matrix product does not promise that: its bits depend on where in a block a column falls. One `q` alone is
    compared with all `k`.
    """
    if len(q) == 1 and len(k) <= PAIRS_A_CHUNK:
        return np.asarray((q.astype(np.float64) * k).sum(1), np.float32)
    q = np.broadcast_to(q, k.shape)
    out = np.empty(len(k), np.float32)
    for start in range(0, len(k), PAIRS_A_CHUNK):
        piece = slice(start, start + PAIRS_A_CHUNK)
        out[piece] = (q[piece].astype(np.float64) * k[piece]).sum(1)
    return out


def exact_rows(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """[b, n] float32 of `q` [b, d] with its own n rows of `k` [b, n, d], to the bit as `exact_scores`."""
    products = k.astype(np.float64)
    products *= q[:, None]
    return np.add.reduce(products, 2).astype(np.float32)


def resolution(q: np.ndarray, longest: float) -> np.ndarray:
    """[n, 1] float32: how far a float32 score of row i can be trusted; closer scores are compared again exactly."""
    length = np.sqrt(np.einsum("nd,nd->n", q, q, dtype=np.float32))
    return np.asarray(length * (longest * ROUNDING * np.sqrt(q.shape[1])), np.float32)[:, None]


def longest_row(parts: Sequence[np.ndarray]) -> float:
    """The greatest Euclidean length among the rows."""
    lengths = [np.einsum("nd,nd->n", b, b).max() for _, b in _blocks(parts, COLUMNS, COLUMNS)]
    return float(np.sqrt(max(lengths, default=0.0)))


def nearest(
    q: np.ndarray,
    parts: Sequence[np.ndarray],
    k: int,
    *,
    keep: np.ndarray | None = None,
    ranks: np.ndarray | None = None,
    longest: float | None = None,
    columns: int = COLUMNS,
) -> tuple[np.ndarray, np.ndarray]:
    """The k greatest inner products of each row, best first.

    Scores closer than float32 can tell apart are computed again in one fixed order, so that equal vectors tie exactly.

    Args:
        q: [n, d] float32, a block of rows: memory is n x (2 columns + 12 k) numbers.
        parts: arrays [m_i, d] that stand one under the other, in memory or memory-mapped, of any float type.
        k: how many; fewer are given where fewer columns are kept.
        keep: [m] bool, the columns that count; None: all.
        ranks: [m] int64, who comes first among equal scores; None: the column number.
        longest: greatest length of a column, if known.
        columns: columns a block.

    Returns:
        scores [n, k] float32 and column numbers [n, k] int64.
    """
    total = sum(len(p) for p in parts)
    k = min(k, total if keep is None else int(np.count_nonzero(keep)))
    n = len(q)
    if k < 1 or n == 0:
        return np.empty((n, max(k, 0)), np.float32), np.empty((n, max(k, 0)), np.int64)
    q = np.ascontiguousarray(q, np.float32)
    band = 2 * resolution(q, longest_row(parts) if longest is None else longest)
    pool = Pool(n, k, band, ranks)
    turns = 2 if n * columns >= NUMBERS_TO_OVERLAP else 1
    buffers = [np.empty(n * max(columns, pool.first), np.float32) for _ in range(turns)]
    passing = np.empty(n * max(columns, pool.first), bool)

    def select(s: np.ndarray, start: int) -> None:
        kept = None if keep is None else keep[start : start + s.shape[1]]
        if kept is not None and not kept.any():
            return
        if not pool.full:
            numbers = np.broadcast_to(np.arange(start, start + s.shape[1]), s.shape)
            pool.merge_whole(np.arange(n), s if kept is None else np.where(kept, s, -np.inf), numbers)
            return
        above = np.greater_equal(s, pool.cut, out=passing[: s.size].reshape(s.shape))
        if kept is not None:
            above &= kept
        pool.merge(s, above, start)

    with worker(turns > 1) as do:
        waiting: Any = None
        for turn, (start, block) in enumerate(_blocks(parts, pool.first, columns)):
            s = buffers[turn % turns][: n * len(block)].reshape(n, len(block))
            np.matmul(q, block.T, out=s)
            if waiting is not None:
                waiting.result()
            waiting = do(select, s, start)
        if waiting is not None:
            waiting.result()
    return pool.finish(q, parts)


@contextmanager
def worker(wanted: bool) -> Iterator[Callable[..., Any]]:
    """A thread that selects while the next block is multiplied; blocks are selected in their order all the same."""
    if not wanted:
        yield lambda call, *arguments: call(*arguments)
        return
    with ThreadPoolExecutor(1, "select") as pool:
        yield pool.submit


def take(parts: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """The rows of arrays that stand one under the other."""
    if len(parts) == 1:
        return np.asarray(parts[0][rows])
    ends = np.cumsum([len(p) for p in parts])
    which = np.searchsorted(ends, rows, side="right")
    out = np.empty((len(rows), parts[0].shape[1]), np.float32)
    for number, part in enumerate(parts):
        inside = which == number
        out[inside] = part[rows[inside] - (ends[number] - len(part))]
    return out


def _blocks(parts: Sequence[np.ndarray], first: int, columns: int) -> Iterator[tuple[int, np.ndarray]]:
    """Float32 blocks of consecutive rows with the number of their first row.

    They double from `first` to `columns`: a block as long as all before it brings each row about k new candidates.
    """
    seen = 0
    for part in parts:
        start = 0
        while start < len(part):
            size = max(first, min(columns, seen))
            block = np.ascontiguousarray(part[start : start + size], np.float32)
            yield seen, block
            start += len(block)
            seen += len(block)


class Pool:
    """For each row the candidates that may still be among the best k.

    Args:
        n: rows.
        band: [n, 1] float32, how far apart two scores of a row are to be told apart for certain.
        ranks: who comes first among equal scores, by column; None: the column number.

    `cut` [n, 1] is the least score that still counts; it rises as candidates come in.
    """

    def __init__(self, n: int, k: int, band: np.ndarray, ranks: np.ndarray | None) -> None:
        self.k, self.band, self.ranks = k, band, ranks
        self.width = 4 * k + 64
        self.first = max(4 * k, 1024)
        self.scores = np.full((n, self.width), -np.inf, np.float32)
        self.columns = np.full((n, self.width), -1, np.int64)
        self.count = np.zeros(n, np.int64)
        self.cut = np.full((n, 1), -np.inf, np.float32)
        self.full = False

    def merge(self, s: np.ndarray, above: np.ndarray, start: int) -> None:
        """Take in the entries of a block that are marked."""
        flat = np.flatnonzero(above)
        if not len(flat):
            return
        rows, columns = np.divmod(flat, s.shape[1])
        self.add(rows, start + columns, s.ravel()[flat])

    def add(self, rows: np.ndarray, columns: np.ndarray, scores: np.ndarray) -> None:
        """Take in single entries, sorted by row; no column may come twice to a row."""
        more = np.bincount(rows, minlength=len(self.count))
        if (self.count + more > self.width).any():
            self.prune(np.flatnonzero(2 * (self.count + more) > self.width))
            still = scores >= self.cut[rows, 0]
            rows, columns, scores = rows[still], columns[still], scores[still]
            more = np.bincount(rows, minlength=len(self.count))
            crowded = self.count + more > self.width
            if crowded.any():
                inside = crowded[rows]
                self._add_many(np.flatnonzero(crowded), rows[inside], columns[inside], scores[inside], more[crowded])
                rows, columns, scores = rows[~inside], columns[~inside], scores[~inside]
                more[crowded] = 0
        place = self.count[rows] + np.arange(len(rows)) - (np.cumsum(more) - more)[rows]
        self.scores[rows, place] = scores
        self.columns[rows, place] = columns
        self.count += more

    def _add_many(
        self, crowded: np.ndarray, rows: np.ndarray, columns: np.ndarray, scores: np.ndarray, more: np.ndarray
    ) -> None:
        """Take in more entries of some rows than there is room for."""
        s = np.full((len(crowded), int(more.max())), -np.inf, np.float32)
        c = np.full(s.shape, -1, np.int64)
        row = np.searchsorted(crowded, rows)
        place = np.arange(len(rows)) - (np.cumsum(more) - more)[row]
        s[row, place], c[row, place] = scores, columns
        self.merge_whole(crowded, s, c)

    def merge_whole(self, rows: np.ndarray, s: np.ndarray, columns: np.ndarray) -> None:
        """Take in whole rows [r, any] of scores and their columns, however many count; -inf is filling."""
        used = int(self.count[rows].max())
        s = np.concatenate([self.scores[rows, :used], s], 1)
        self._replace(rows, s, np.concatenate([self.columns[rows, :used], columns], 1))

    def prune(self, rows: np.ndarray | None = None) -> None:
        """Drop what cannot be among the best k any more, in these rows or in all."""
        rows = np.arange(len(self.count)) if rows is None else rows
        used = int(self.count[rows].max())
        self._replace(rows, self.scores[rows, :used], self.columns[rows, :used])

    def _replace(self, rows: np.ndarray, s: np.ndarray, columns: np.ndarray) -> None:
        band = self.band[rows]
        worst = np.full((len(rows), 1), -np.inf, np.float32)
        if s.shape[1] >= self.k:
            worst = np.partition(s, s.shape[1] - self.k, axis=1)[:, -self.k, None]
        keep = (s >= worst - band) & (s > -np.inf)
        count = keep.sum(1)
        crowded = count > self.width
        if crowded.any():
            keep[crowded] = self._first_of_the_tied(s[crowded], columns[crowded], worst[crowded], band[crowded])
            count = np.minimum(count, self.width)
        flat = np.flatnonzero(keep)
        row = flat // s.shape[1]
        place = np.arange(len(flat)) - (np.cumsum(count) - count)[row]
        self.scores[rows], self.columns[rows] = -np.inf, -1
        self.scores[rows[row], place] = s.ravel()[flat]
        self.columns[rows[row], place] = columns.ravel()[flat]
        self.count[rows] = count
        self.cut[rows] = worst - band
        self.full = bool(np.isfinite(self.cut).all())

    def _first_of_the_tied(self, s: np.ndarray, columns: np.ndarray, worst: np.ndarray, band: np.ndarray) -> np.ndarray:
        """Of more near-equal scores than there is room for, those that come first; the clearly better ones all."""
        place = columns if self.ranks is None else self.ranks[columns]
        last = np.iinfo(np.int64).max
        key = np.where(s > worst + band, -1, np.where((s >= worst - band) & (s > -np.inf), place, last))
        keep = np.zeros(s.shape, bool)
        np.put_along_axis(keep, np.argpartition(key, self.width - 1, axis=1)[:, : self.width], True, 1)
        return keep

    def finish(self, q: np.ndarray, parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Sort, with near-equal scores computed again exactly and ties broken by rank."""
        self.prune()
        used = int(self.count.max())
        order = np.argsort(-self.scores[:, :used], axis=1)
        s = np.take_along_axis(self.scores[:, :used], order, 1)
        columns = np.take_along_axis(self.columns[:, :used], order, 1)
        with np.errstate(invalid="ignore"):
            close = (s[:, :-1] - s[:, 1:]) <= self.band
        near = np.zeros(s.shape, bool)
        near[:, :-1] |= close
        near[:, 1:] |= close
        near &= columns >= 0
        rows, place = np.nonzero(near)
        for start in range(0, len(rows), PAIRS_A_CHUNK):
            r, p = rows[start : start + PAIRS_A_CHUNK], place[start : start + PAIRS_A_CHUNK]
            s[r, p] = exact_scores(q[r], take(parts, columns[r, p]))
        touched = np.unique(rows)
        if len(touched):
            tie = columns[touched] if self.ranks is None else self.ranks[columns[touched]]
            again = np.lexsort((tie, -s[touched]), axis=-1)
            s[touched] = np.take_along_axis(s[touched], again, 1)
            columns[touched] = np.take_along_axis(columns[touched], again, 1)
        return np.ascontiguousarray(s[:, : self.k]), np.ascontiguousarray(columns[:, : self.k])
