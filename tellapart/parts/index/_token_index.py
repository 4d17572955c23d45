"""Several unit vectors an item under its id: kept in half precision, compared by MaxSim, saved whole or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.errors import DataError, near
from tellapart.core.hits import Hits
from tellapart.core.vectors import DEAD_SHARE, UNIT, Filter, VectorIndex, checked_ids, read_ids, write_ids

TOKENS_A_BLOCK = 8192
QUERY_TOKENS_A_BLOCK = 1024
NEAR = 1e-4
ROWS_AT_ONCE = 256
KEPT_BITS = np.int32(-0x70002000)
BIAS = np.float32(2.0**112)
Found = tuple[np.ndarray, np.ndarray]


class TokenIndex(VectorIndex):
    """The exact search by MaxSim, and what a faster one adds to.

    A part overrides `_find` (rows and scores of the best), `_changed` (items that came), `_forget`, `_write`, `_read`.
    The score is MaxSim over the number of query vectors, so that it lies in -1..1 and is the cosine for one vector.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ends = np.zeros(0, np.int64)
        self._mapped = 0

    def add(self, ids: Sequence[str] | np.ndarray, tokens: Sequence[np.ndarray]) -> None:  # type: ignore[override]
        """Take in items; one whose id is there already replaces it.

        Args:
            ids: n different, non-empty strings.
            tokens: n matrices [t >= 1, d] of any float type; rows are brought to unit length and kept in float16.

        Raises:
            DataError: another width, a row of zeros or with a value that is not finite, an id twice.
        """
        given = checked_tokens(tokens, "items", self.dim)
        names = checked_ids(ids, len(given))
        kept = [t.astype(np.float16) for t in given]
        fresh = [n for n, (i, t) in enumerate(zip(names, kept, strict=True)) if not self._holds(i, t)]
        if not fresh:
            return
        names, kept = [names[n] for n in fresh], [kept[n] for n in fresh]
        rows, start = self._rows, len(self._ids)
        self._alive[[rows[i] for i in names if i in rows]] = False
        self._ids.extend(names)
        rows.update(zip(names, range(start, start + len(names)), strict=True))
        self._alive = np.concatenate([self._alive, np.ones(len(names), bool)])
        last = self._ends[-1] if len(self._ends) else 0
        self._ends = np.concatenate([self._ends, last + np.cumsum([len(t) for t in kept])])
        self._parts.append(np.concatenate(kept))
        while len(self._parts) > 1 + self._mapped:
            if 2 * len(self._parts[-1]) < len(self._parts[-2]):
                break
            self._parts[-2:] = [np.concatenate(self._parts[-2:])]
        self._living = self._names = self._ranks = None
        self._changed(names, kept)
        self._tidy()

    def search(self, tokens: Sequence[np.ndarray], k: int, *, filter: Filter | None = None) -> Hits:
        """The k items of each query that are best by MaxSim, best first, ties by id.

        Args:
            tokens: a matrix [t >= 1, d] a query.
            k: how many; where fewer items are there (or pass the filter), all of them.
            filter: the ids that count, or a function of the [n] ids that gives [n] bool.

        Raises:
            DataError: k below 1, another width, a query of zeros or with a value that is not finite.
        """
        return self._hits(*self._searched(tokens, k, self._allowed(filter), self._find))

    def search_places(
        self, tokens: Sequence[np.ndarray], k: int, *, filter: Filter | None = None
    ) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        """`search`, giving scores [queries, k] and int64 places in `ids` [queries, k]."""
        rows, scores = self._searched(tokens, k, self._allowed(filter), self._find)
        return scores, (np.cumsum(self._alive) - 1)[rows]

    def search_exactly(self, tokens: Sequence[np.ndarray], k: int) -> Hits:  # type: ignore[override]
        """What `search` would give if it compared every item: the oracle that recall is measured against."""
        return self._hits(*self._searched(tokens, k, self._alive, self._compare_all))

    def tokens(self, ids: Sequence[str]) -> list[np.ndarray]:
        """[t, d] float32 for each of these ids; an unknown one raises `DataError`."""
        rows = self._rows
        missing = [i for i in ids if i not in rows]
        if missing:
            raise DataError(f"there is no {missing[0]!r} in the index; {near(missing[0], list(rows)[:1000])}")
        return [self._of(rows[i]).astype(np.float32) for i in ids]

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """Refused: an item has several vectors here; see `tokens`."""
        raise DataError(f"{type(self).__name__} holds several vectors an item: ask for tokens(ids), or search by words")

    def _find(self, queries: list[np.ndarray], k: int, allowed: np.ndarray) -> Found:
        """Rows and scores [queries, k] of the best, ties by id."""
        return self._compare_all(queries, k, allowed)

    def _changed(self, names: list[str], tokens: list[np.ndarray]) -> None:
        """These items came, or came anew with other vectors."""

    def _holds(self, name: str, tokens: np.ndarray) -> bool:
        row = self._rows.get(name)
        return row is not None and np.array_equal(self._of(row), tokens)

    def _span(self, row: int) -> tuple[int, int]:
        return (int(self._ends[row - 1]) if row else 0), int(self._ends[row])

    def _of(self, row: int) -> np.ndarray:
        """[t, d] float16 of one row; no item lies across two parts."""
        start, end = self._span(row)
        for part in self._parts:
            if start < len(part):
                return part[start:end]
            start, end = start - len(part), end - len(part)
        raise IndexError(row)

    def _all(self, rows: np.ndarray) -> np.ndarray:
        """[sum t, d] float16 of rows, without a copy where they lie together."""
        start, end = self._span(int(rows[0]))[0], int(self._ends[rows[-1]])
        if rows[-1] - rows[0] == len(rows) - 1:
            for part in self._parts:
                if end <= len(part):
                    return part[start:end]
                if start < len(part):
                    break
                start, end = start - len(part), end - len(part)
        return np.concatenate([self._of(row) for row in rows.tolist()])

    def _searched(self, tokens: Sequence[np.ndarray], k: int, allowed: np.ndarray, find: Callable[..., Found]) -> Found:
        if k < 1:
            raise DataError(f"k is {k}: ask for at least 1 item")
        queries = checked_tokens(tokens, "queries", self.dim)
        k = min(k, int(np.count_nonzero(allowed)))
        if k == 0 or not queries:
            return np.zeros((len(queries), k), np.int64), np.full((len(queries), k), -np.inf, np.float32)
        return find(queries, k, allowed)

    def _compare_all(self, queries: list[np.ndarray], k: int, allowed: np.ndarray) -> Found:
        """MaxSim of all allowed rows, in blocks of a matrix product, the best of them again one by one."""
        rows = np.flatnonzero(allowed)
        out = []
        for block in _grouped(queries, QUERY_TOKENS_A_BLOCK):
            scores = self._scores(block, rows)
            for query, of_query in zip(block, scores.T, strict=True):
                out.append(self._again(query, rows, of_query, k))
        return np.stack([r for r, _ in out]), np.stack([s for _, s in out])

    def _scores(self, queries: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
        """[rows, queries] float32, to the rounding of a matrix product."""
        counts = np.asarray([len(q) for q in queries])
        asked = np.ascontiguousarray(np.concatenate(queries).T)
        out = np.empty((len(rows), len(queries)), np.float32)
        done = 0
        for starts, block in self._blocks(rows):
            best = np.maximum.reduceat(block @ asked, starts, axis=0)
            out[done : done + len(starts)] = np.add.reduceat(best, np.cumsum(counts) - counts, axis=1) / counts
            done += len(starts)
        return out

    def _blocks(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Consecutive rows as float32 tokens [t, d], and where each of them starts."""
        sizes = np.diff(self._ends, prepend=0)[rows]
        first = 0
        while first < len(rows):
            sums = np.cumsum(sizes[first : first + TOKENS_A_BLOCK])
            many = max(1, int(np.searchsorted(sums, TOKENS_A_BLOCK, side="right")))
            yield sums[:many] - sizes[first : first + many], widened(self._all(rows[first : first + many]))
            first += many

    def _again(self, query: np.ndarray, rows: np.ndarray, scores: np.ndarray, k: int) -> Found:
        """The k best of `rows`: those that a product's rounding may have misplaced are compared one by one.

        A product's bits depend on where in a block an item falls; one by one, equal items have equal scores.
        """
        least = np.partition(scores, len(scores) - k)[len(scores) - k] - NEAR if k < len(scores) else -np.inf
        close = rows[scores >= least]
        exact = np.asarray([_maxsim(query, self._of(row)) for row in close.tolist()], np.float32)
        order = np.lexsort((self._order[close], -exact))[:k]
        return close[order], exact[order]

    def _tidy(self) -> None:
        if np.count_nonzero(~self._alive) <= DEAD_SHARE * len(self._alive):
            return
        keep = np.flatnonzero(self._alive)
        kept = [self._of(row) for row in keep.tolist()]
        self._ends = np.cumsum([len(t) for t in kept], dtype=np.int64)
        self._parts = [np.concatenate(kept)] if kept else []
        self._ids = [self._ids[row] for row in keep]
        self._alive = np.ones(len(keep), bool)
        self._mapped = 0
        self._row_of = self._names = self._ranks = None
        self._forget()

    def _write_all(self, folder: Path) -> None:

        shape = (sum(len(p) for p in self._parts), self.dim or 0)
        out = np.lib.format.open_memmap(folder / "tokens.npy", mode="w+", dtype=np.float16, shape=shape)
        start = 0
        for part in self._parts:
            out[start : start + len(part)] = part
            start += len(part)
        out.flush()
        for name, array in (("ends", self._ends), ("alive", self._alive), ("order", self._order)):
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        write_ids(folder, self._ids)
        self._write(folder)

    def _read_all(self, folder: Path, facts: dict[str, Any]) -> TokenIndex:

        if facts["part"] != type(self).__name__:
            raise DataError(f"{folder.parent} holds an index of {facts['part']}, not of {type(self).__name__}")
        tokens = np.load(folder / "tokens.npy", mmap_mode="r", allow_pickle=False)
        ends, alive, order = (np.load(folder / f"{n}.npy", allow_pickle=False) for n in ("ends", "alive", "order"))
        ids = read_ids(folder)
        shape = (facts["rows"],)
        fits = tokens.ndim == 2 and tokens.shape[1] == facts["dim"] and len(ids) == facts["rows"]
        kinds = (tokens.dtype == np.float16, alive.dtype == bool, order.dtype == ends.dtype == np.int64)
        grows = bool((np.diff(ends, prepend=0) > 0).all())
        if not (fits and all(kinds) and ends.shape == alive.shape == order.shape == shape and grows) or (
            len(tokens) != ends[-1]
        ):
            raise ValueError("the files do not fit each other")
        TokenIndex.__init__(self)
        self._forget()
        # a plain view of the map: numpy's memmap costs several microseconds a slice
        self._parts, self._mapped, self._ids, self._ends, self._alive = [tokens.view(np.ndarray)], 1, ids, ends, alive
        self._living, self._row_of, self._ranks = None, None, order
        self._read(folder)
        return self


def checked_tokens(tokens: Sequence[np.ndarray], what: str, dim: int | None) -> list[np.ndarray]:
    """Float32 matrices of unit rows; what cannot be meant raises `DataError`."""
    if not isinstance(tokens, Sequence | np.ndarray) or isinstance(tokens, str):
        raise DataError(f"the {what} must be a list of matrices [t, d], one for each")
    made = [np.asarray(t) for t in tokens]
    for number, t in enumerate(made):
        if t.ndim != 2 or not t.size:
            raise DataError(
                f"number {number} of the {what} must be a matrix [t, d] of its token vectors, not {t.shape}"
            )
    if not made:
        return []
    dim = dim or made[0].shape[1]
    odd = next((t.shape[1] for t in made if t.shape[1] != dim), None)
    if odd is not None:
        raise DataError(f"the {what} have {odd} dimensions and the index {dim}: use one model for both")
    whole = np.concatenate(made).astype(np.float32, copy=False)
    length = np.sqrt(np.einsum("nd,nd->n", whole, whole, dtype=np.float64))
    ends = np.cumsum([len(t) for t in made])
    for wrong, words in ((~np.isfinite(length), "a value that is not finite"), (length == 0, "a vector of zeros")):
        if wrong.any():
            raise DataError(f"number {int(np.searchsorted(ends, wrong.argmax(), 'right'))} of the {what} holds {words}")
    off = np.abs(length - 1) > UNIT
    if off.any():
        whole = whole.copy()
        whole[off] = whole[off] / length[off, None]
    return np.split(whole, ends[:-1])


def widened(x: np.ndarray) -> np.ndarray:
    """Finite float16 rows as float32, by moving their bits: a third of the time of numpy's own cast.

    Sign, exponent and fraction go to their places in 32 bits, and a product with 2^112 sets the exponent's zero right.
    """
    out = np.empty(x.shape, np.float32)
    for start in range(0, len(x), ROWS_AT_ONCE):
        bits = out[start : start + ROWS_AT_ONCE].view(np.int32)
        bits[:] = x[start : start + ROWS_AT_ONCE].view(np.int16)
        np.left_shift(bits, 13, out=bits)
        np.bitwise_and(bits, KEPT_BITS, out=bits)
        np.multiply(bits.view(np.float32), BIAS, out=bits.view(np.float32))
    return out


def _maxsim(query: np.ndarray, document: np.ndarray) -> np.float32:
    scores = document.astype(np.float32) @ query.T
    return np.float32(scores.max(0).sum() / len(query))


def _grouped(queries: list[np.ndarray], tokens: int) -> Iterator[list[np.ndarray]]:
    """Queries in runs of at most so many tokens, at least one a run."""
    held: list[np.ndarray] = []
    for query in queries:
        if held and sum(len(q) for q in held) + len(query) > tokens:
            yield held
            held = []
        held.append(query)
    if held:
        yield held
