"""An inverted index of sparse vectors: for every term the rows that hold it, read from a file; scores are exact.

Not a part of the shape `index`: that promises cosines of dense vectors of one width. The calls are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.hits import Hits
from tellapart.core.terms import Weighted
from tellapart.core.vectors import Filter, read_ids, write_ids

FILES = ("starts", "rows", "weights")


class Inverted:
    """Sparse rows under ids, found by the inner product with a sparse query.

    A search adds up the lists of the query's terms: as many additions as these hold, and one number a row.

    Args:
        width: how many terms there are.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._pieces: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
        self._ids = np.zeros(0, object)
        self._alive = np.zeros(0, bool)
        self._row_of: dict[str, int] | None = {}

    def __len__(self) -> int:
        return int(np.count_nonzero(self._alive))

    @property
    def ids(self) -> np.ndarray:
        """[n] object array of the ids that can be found."""
        found: np.ndarray = self._ids[self._alive]
        return found

    @property
    def numbers(self) -> int:
        """How many weights are kept, those of deleted rows too."""
        return sum(len(rows) for _, _, rows, _ in self._pieces)

    def add(self, ids: Sequence[str] | np.ndarray, rows: Weighted) -> None:
        """Take in rows; one whose id is there already replaces it.

        Raises:
            DataError: unlike numbers of both, an id that is empty or given twice, a term that is none, or a weight
                that is not finite and above 0.
        """
        names = [str(i) for i in ids]
        if len(names) != len(rows) or len(set(names)) != len(names) or not all(names):
            raise DataError(f"{len(rows)} rows need as many different ids that are not empty, not {len(names)}")
        if len(rows.terms) and not (rows.terms.min() >= 0 and rows.terms.max() < self.width):
            raise DataError(f"terms must be numbers from 0 to {self.width - 1}")
        if not (np.isfinite(rows.weights) & (rows.weights > 0)).all():
            raise DataError("weights must be finite and above 0")
        held, start = self._rows, len(self._ids)
        self._alive[[held[name] for name in names if name in held]] = False
        order = np.argsort(rows.terms, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows.terms, minlength=self.width))]).astype(np.int64)
        self._pieces.append((start, starts, rows.row[order].astype(np.int32), rows.weights[order].astype(np.float32)))
        self._ids = np.concatenate([self._ids, np.asarray(names, object)])
        self._alive = np.concatenate([self._alive, np.ones(len(names), bool)])
        held.update(zip(names, range(start, start + len(names)), strict=True))

    def delete(self, ids: Iterable[str]) -> None:
        """Take items out.

        Raises:
            DataError: an id that is not there; then nothing is deleted.
        """
        names, held = list(dict.fromkeys(ids)), self._rows
        if unknown := [i for i in names if i not in held]:
            raise DataError(f"cannot delete {unknown[0]!r}: it is not in the index ({len(unknown)} unknown ids)")
        self._alive[[held.pop(i) for i in names]] = False

    def search(self, queries: Weighted, k: int, *, filter: Filter | None = None) -> Hits:
        """The k items of the greatest inner product with each query, ties by id; none that shares no term with it.

        Args:
            filter: the ids that count, or a function of the [n] ids that gives [n] bool.

        Raises:
            DataError: k below 1.
        """
        if k < 1:
            raise DataError(f"k is {k}: ask for at least 1 item")
        allowed, found = self._allowed(filter), []
        for q in range(len(queries)):
            span = slice(queries.starts[q], queries.starts[q + 1])
            scores = self._scores(queries.terms[span], queries.weights[span])
            hit = np.flatnonzero((scores > 0) & allowed)
            if len(hit) > k:
                least = np.partition(scores[hit], len(hit) - k)[len(hit) - k]
                hit = hit[scores[hit] >= least]
            order = np.lexsort((self._ids[hit].astype(str), -scores[hit]))[:k]
            found.append((self._ids[hit[order]], scores[hit[order]]))
        width = max((len(ids) for ids, _ in found), default=0)
        names = np.full((len(found), width), "", object)
        values = np.full(names.shape, -np.inf, np.float32)
        for row, (ids, scores) in enumerate(found):
            names[row, : len(ids)], values[row, : len(ids)] = ids, scores
        return Hits(names.astype(str), values)

    def write(self, folder: Path) -> None:
        """Put the files into a folder: what was deleted is left out, and all pieces are one."""

        keep = np.flatnonzero(self._alive)
        place = np.full(len(self._alive), -1, np.int32)
        place[keep] = np.arange(len(keep))
        pieces = [(starts, place[rows + first], weights) for first, starts, rows, weights in self._pieces]
        term = [np.repeat(np.arange(self.width), np.diff(starts)) for starts, _, _ in pieces]
        terms = np.concatenate([np.zeros(0, np.int64), *term])
        rows = np.concatenate([np.zeros(0, np.int32), *(r for _, r, _ in pieces)])
        weights = np.concatenate([np.zeros(0, np.float32), *(w for _, _, w in pieces)])
        alive = rows >= 0
        order = np.argsort(terms[alive], kind="stable")
        counts = np.bincount(terms[alive], minlength=self.width)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        for name, array in zip(FILES, (starts, rows[alive][order], weights[alive][order]), strict=True):
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        write_ids(folder, self._ids[keep].tolist())

    @staticmethod
    def read(folder: Path) -> Inverted:
        """What `write` put there; the lists stay in their files until a search reads them.

        Raises:
            ValueError: the files do not fit each other.
        """

        starts, rows, weights = (np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in FILES)
        ids = read_ids(folder)
        kinds = starts.dtype == np.int64 and rows.dtype == np.int32 and weights.dtype == np.float32
        fits = starts.ndim == rows.ndim == weights.ndim == 1 and len(rows) == len(weights)
        if (
            not kinds
            or not fits
            or len(starts) < 1
            or starts[0]
            or starts[-1] != len(rows)
            or (np.diff(starts) < 0).any()
        ):
            raise ValueError("the lists of terms do not fit each other")
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(ids)):
            raise ValueError("a list names a row that is not there")
        made = Inverted(len(starts) - 1)
        made._pieces = [(0, starts, rows, weights)]
        made._ids, made._alive, made._row_of = np.asarray(ids, object), np.ones(len(ids), bool), None
        return made

    @property
    def _rows(self) -> dict[str, int]:
        if self._row_of is None:
            self._row_of = {str(self._ids[row]): int(row) for row in np.flatnonzero(self._alive)}
        return self._row_of

    def _allowed(self, filter: Filter | None) -> np.ndarray:
        if filter is None:
            return self._alive
        mask = np.zeros(len(self._alive), bool)
        if callable(filter):
            mask[np.flatnonzero(self._alive)] = np.asarray(filter(self.ids), bool)
        else:
            held = self._rows
            mask[[held[i] for i in filter if i in held]] = True
        return mask

    def _scores(self, terms: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """[rows] inner products, added up in float64 so that their order means nothing."""
        scores = np.zeros(len(self._ids))
        for first, starts, rows, values in self._pieces:
            for term, weight in zip(terms.tolist(), weights.tolist(), strict=True):
                span = slice(starts[term], starts[term + 1])
                # a row stands once in a list
                scores[rows[span] + first] += weight * values[span].astype(np.float64)
        return scores.astype(np.float32)
