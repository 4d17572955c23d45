"""Vectors under ids: what every index keeps, deletes, filters, compares again exactly, and saves whole or not."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tellapart.core.errors import DataError, near
from tellapart.core.hits import Hits
from tellapart.core.nearest import COLUMNS, PAIRS_A_CHUNK, exact_rows, exact_scores, nearest, take
from tellapart.core.widening import Widening

Filter = Iterable[str] | Callable[[np.ndarray], np.ndarray]

CURRENT = "current.json"
READING = ".reading-"
QUERIES_A_BLOCK = 512
UNIT = 1e-4
LONGEST = 1 + UNIT
NUMBERS_A_BLOCK = 500_000
FEW = 256
FEW_SHARE = 0.05
DEAD_SHARE = 0.2
MOST_BYTES_OF_JSON = 1_000_000
R = TypeVar("R")


class VectorIndex(Widening):
    """The exact index, and what an approximate one adds to: rows of unit vectors under ids, with gaps for deleted ones.

    A part overrides `_candidates` (rows that may be among the nearest), `_forget` (its structure no longer fits),
    `_write` and `_read` (its own files). Whatever it proposes is compared again exactly in float32, and never are
    fewer than k found where k exist.
    """

    queries_a_block = QUERIES_A_BLOCK

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[np.ndarray] = []
        self._ids: list[str] = []
        self._alive = np.zeros(0, bool)
        self._living: int | None = 0
        self._row_of: dict[str, int] | None = {}
        self._names: np.ndarray | None = None
        self._ranks: np.ndarray | None = None

    def __len__(self) -> int:
        if self._living is None:
            self._living = int(np.count_nonzero(self._alive))
        return self._living

    def ready(self) -> None:
        """Raise `BackendAwayError` where what holds the vectors does not answer; an index in this process does."""

    @property
    def ids(self) -> np.ndarray:
        """[n] object array of the ids that can be found, in the order in which they came."""
        return self._id_array[self._alive]

    @property
    def dim(self) -> int | None:
        """Width of the vectors; None while there are none."""
        return int(self._parts[0].shape[1]) if self._parts else None

    @property
    def options(self) -> dict[str, Any]:
        """The options that it was made with, by name."""
        given = inspect.signature(type(self).__init__).parameters.values()
        return {p.name: getattr(self, p.name) for p in given if p.kind is p.KEYWORD_ONLY}

    def add(self, ids: Sequence[str] | np.ndarray, z: np.ndarray) -> None:
        """Take in vectors; one whose id is there already replaces it.

        Args:
            ids: n different, non-empty strings.
            z: [n, d] of any float type; rows are brought to unit length and kept in float32.

        Raises:
            DataError: another width, a row of zeros or with a value that is not finite, an id twice.
        """
        z = checked_vectors(z, "vectors", self.dim)
        names = checked_ids(ids, len(z))
        if not names:
            return
        rows = self._rows
        known = np.asarray([rows.get(i, -1) for i in names], np.int64)
        old = np.flatnonzero(known >= 0)
        if len(old):
            same = (take(self._parts, known[old]) == z[old]).all(1)
            self._alive[known[old[~same]]] = False
            fresh = np.ones(len(names), bool)
            fresh[old[same]] = False
            names, z = [i for i, f in zip(names, fresh, strict=True) if f], z[fresh]
            if not names:
                return
        self._living = None
        start = len(self._ids)
        self._ids.extend(names)
        rows.update(zip(names, range(start, start + len(names)), strict=True))
        self._alive = np.concatenate([self._alive, np.ones(len(names), bool)])
        self._parts.append(np.ascontiguousarray(z))
        while len(self._parts) > 1 and not isinstance(self._parts[-2], np.memmap):
            if 2 * len(self._parts[-1]) < len(self._parts[-2]):
                break
            self._parts[-2:] = [np.concatenate(self._parts[-2:])]
        self._names = self._ranks = None
        self._tidy()

    def delete(self, ids: Iterable[str]) -> None:
        """Take items out; they are found no more from now on, and their room is won back from a fifth of gaps on.

        Raises:
            DataError: an id that is not there; then nothing is deleted.
        """
        names, rows = list(dict.fromkeys(ids)), self._rows
        unknown = [i for i in names if i not in rows]
        if unknown:
            raise DataError(f"cannot delete {unknown[0]!r}: it is not in the index ({len(unknown)} unknown ids)")
        self._alive[[rows.pop(i) for i in names]] = False
        self._living = None
        self._tidy()

    def search(self, z: np.ndarray, k: int, *, filter: Filter | None = None) -> Hits:
        """The k nearest items of each query by cosine, best first, ties by id.

        Args:
            z: [queries, d].
            k: how many; where fewer items are there (or pass the filter), all of them.
            filter: the ids that count, or a function of the [n] ids that gives [n] bool.

        Raises:
            DataError: k below 1, another width, a query of zeros or with a value that is not finite.
        """
        return self._hits(*self._search(z, k, self._allowed(filter), self._block))

    def search_places(self, z: np.ndarray, k: int, *, filter: Filter | None = None) -> tuple[np.ndarray, np.ndarray]:
        """`search`, giving scores [queries, k] and int64 places in `ids` [queries, k]: no strings, for many queries."""
        rows, scores = self._search(z, k, self._allowed(filter), self._block)
        return scores, (np.cumsum(self._alive) - 1)[rows]

    def elsewhere(self) -> int:
        """Bytes that are held outside the folder it is saved in."""
        return 0

    def search_exactly(self, z: np.ndarray, k: int) -> Hits:
        """What `search` would give if it compared every item: the oracle that recall is measured against."""
        return self._hits(*self._search(z, k, self._alive, self._all_of))

    def save(self, folder: str | Path) -> Path:
        """Write the index as a new version beside the one that is there, then make it the one that is read.

        Whoever reads meanwhile sees the old one whole; killed at any point, the folder holds the old one or the new.

        Raises:
            DataError: nothing to save, or no room; the old version is then untouched.
        """
        if not self._parts:
            raise DataError("an index without vectors cannot be saved: add some first")
        facts = {"part": type(self).__name__, "options": self.options, "rows": len(self._ids), "dim": self.dim}
        return write_version(folder, self._write_all, facts | {"chosen": self.chosen})

    def load(self, folder: str | Path) -> Any:
        """Read a saved index into this one, vectors memory-mapped; gives itself back.

        Raises:
            DataError: no index there, one of another part, or files that are damaged.
        """
        return read_version(folder, self._read_all)

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """[n, d] float32 unit vectors of these ids; an unknown one raises `DataError`."""
        rows = self._rows
        missing = [i for i in ids if i not in rows]
        if missing:
            raise DataError(f"there is no {missing[0]!r} in the index; {near(missing[0], list(rows)[:1000])}")
        if not len(ids):
            return np.zeros((0, self.dim or 0), np.float32)
        return take(self._parts, np.asarray([rows[i] for i in ids], np.int64))

    def _candidates(self, z: np.ndarray, count: int, allowed: np.ndarray | None) -> np.ndarray | None:
        """[b, any] rows that may be among the `count` nearest, -1 as filling; None: compare with all.

        `allowed` [rows] bool is None where every row counts.
        """
        return None

    def _forget(self) -> None:
        """Rows were renumbered: what was built over them no longer fits."""

    def _write(self, folder: Path) -> None:
        """Write what was built over the rows."""

    def _read(self, folder: Path) -> None:
        """Read what `_write` wrote."""

    @property
    def _rows(self) -> dict[str, int]:
        if self._row_of is None:
            self._row_of = {i: row for row, (i, alive) in enumerate(zip(self._ids, self._alive, strict=True)) if alive}
        return self._row_of

    @property
    def _id_array(self) -> np.ndarray:
        if self._names is None or len(self._names) != len(self._ids):
            names = np.empty(len(self._ids), object)
            names[:] = self._ids
            self._names = names
        return self._names

    @property
    def _order(self) -> np.ndarray:
        """[rows] place of each row's id among the sorted ids."""
        if self._ranks is None or len(self._ranks) != len(self._ids):
            ranks = np.empty(len(self._ids), np.int64)
            ranks[np.argsort(self._id_array, kind="stable")] = np.arange(len(self._ids))
            self._ranks = ranks
        return self._ranks

    def _allowed(self, filter: Filter | None) -> np.ndarray:
        if filter is None:
            return self._alive
        if callable(filter):
            mask = np.asarray(filter(self._id_array))
            if mask.shape != self._alive.shape or mask.dtype != bool:
                wanted = f"[{len(self._alive)}] bool"
                raise DataError(f"a filter function gets the ids and gives {wanted}, not {mask.dtype} {mask.shape}")
            return mask & self._alive
        if isinstance(filter, str):
            raise DataError("a filter is a set of ids or a function, not one string")
        mask, rows = np.zeros(len(self._alive), bool), self._rows
        mask[[rows[i] for i in filter if i in rows]] = True
        return mask

    def _count(self, allowed: np.ndarray) -> int:
        return len(self) if allowed is self._alive else int(np.count_nonzero(allowed))

    def _search(self, z: np.ndarray, k: int, allowed: np.ndarray, find: Callable[..., Any]) -> tuple[Any, Any]:
        """Rows and scores [queries, k]."""
        z = checked_queries(z, k, self.dim)
        k = min(k, self._count(allowed))
        if k == 0 or not len(z):
            return np.zeros((len(z), k), np.int64), np.full((len(z), k), -np.inf, np.float32)
        size = self.queries_a_block
        if len(z) <= size:
            return find(z, k, allowed)
        blocks = [find(z[i : i + size], k, allowed) for i in range(0, len(z), size)]
        return np.concatenate([r for r, _ in blocks]), np.concatenate([s for _, s in blocks])

    def _hits(self, rows: np.ndarray, scores: np.ndarray) -> Hits:
        return Hits(self._id_array[rows].astype(str), scores)

    def _block(self, z: np.ndarray, k: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scores of the k best of a block of queries."""
        total, count = len(allowed), self._count(allowed)
        if count <= max(FEW, FEW_SHARE * total):
            return self._all_of(z, k, allowed)
        mask = None if count == total else allowed
        best = self._best(z, k, k, mask) if k < total else None
        if best is None:
            return self._all_of(z, k, allowed)
        rows, scores = best
        if len(rows) == 1 and rows[0, -1] >= 0:
            return rows, scores
        wanted, open_ = 4 * k, np.flatnonzero(rows[:, -1] < 0)
        while len(open_):
            best = self._best(z[open_], wanted, k, mask) if wanted < total else None
            if best is None:
                rows[open_], scores[open_] = self._all_of(z[open_], k, allowed)
                break
            rows[open_], scores[open_] = best
            open_ = open_[rows[open_, -1] < 0]
            wanted *= 4
        return rows, scores

    def _best(
        self, z: np.ndarray, wanted: int, k: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Rows and scores [b, k] of the k best of `wanted` candidates, -1 as filling; None: compare with all."""
        found = self._candidates(z, wanted, allowed)
        if found is None:
            return None
        if allowed is not None:
            found = np.where((found >= 0) & allowed[found], found, -1)
        return self._exact(z, found, k)

    def _all_of(self, z: np.ndarray, k: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compare with all allowed rows; few of them are taken together first."""
        count = int(np.count_nonzero(allowed))
        columns = max(COLUMNS, NUMBERS_A_BLOCK // len(z))
        if count > FEW_SHARE * len(allowed):
            keep = None if count == len(allowed) else allowed
            best = nearest(z, self._parts, k, keep=keep, ranks=self._order, longest=LONGEST, columns=columns)[1]
            return self._exact(z, best, k)
        rows = np.flatnonzero(allowed)
        few = take(self._parts, rows)
        best = nearest(z, [few], k, ranks=self._order[rows], longest=LONGEST, columns=columns)[1]
        return self._exact(z, rows[best], k)

    def _exact(self, z: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Candidates compared in float32, sorted, ties by id, cut at k; -1 and -inf where there are too few."""
        if rows.shape[1] < k:
            rows = np.pad(rows, ((0, 0), (0, k - rows.shape[1])), constant_values=-1)
        if rows.min() >= 0:
            size = max(1, PAIRS_A_CHUNK // rows.shape[1])
            pieces = [slice(start, start + size) for start in range(0, len(z), size)]
            whole = [exact_rows(z[p], self._rows_of(rows[p].ravel()).reshape(*rows[p].shape, -1)) for p in pieces]
            return _ordered(rows, whole[0] if len(whole) == 1 else np.concatenate(whole), self._order, k)
        scores = np.full(rows.shape, -np.inf, np.float32)
        query, place = np.nonzero(rows >= 0)
        for start in range(0, len(query), PAIRS_A_CHUNK):
            q, p = query[start : start + PAIRS_A_CHUNK], place[start : start + PAIRS_A_CHUNK]
            scores[q, p] = exact_scores(z[q], self._rows_of(rows[q, p]))
        return _ordered(rows, scores, self._order, k)

    def _rows_of(self, rows: np.ndarray) -> np.ndarray:
        """[n, d] vectors of these rows, from wherever they were just read."""
        return take(self._parts, rows)

    def _tidy(self) -> None:
        """Close the gaps once they are more than a fifth."""
        if np.count_nonzero(~self._alive) <= DEAD_SHARE * len(self._alive):
            return
        keep = np.flatnonzero(self._alive)
        self._parts = [take(self._parts, keep)] if len(keep) else []
        self._ids = [self._ids[row] for row in keep]
        self._alive = np.ones(len(keep), bool)
        self._living = len(keep)
        self._row_of = self._names = self._ranks = None
        self._forget()

    def _write_all(self, folder: Path) -> None:

        out = np.lib.format.open_memmap(
            folder / "z.npy", mode="w+", dtype=np.float32, shape=(len(self._ids), self.dim or 0)
        )
        start = 0
        for part in self._parts:
            out[start : start + len(part)] = part
            start += len(part)
        out.flush()
        np.save(folder / "alive.npy", self._alive, allow_pickle=False)
        np.save(folder / "order.npy", self._order, allow_pickle=False)
        write_ids(folder, self._ids)
        self._write(folder)

    def _read_all(self, folder: Path, facts: dict[str, Any]) -> VectorIndex:

        if facts["part"] != type(self).__name__:
            raise DataError(f"{folder.parent} holds an index of {facts['part']}, not of {type(self).__name__}")
        z = np.load(folder / "z.npy", mmap_mode="r", allow_pickle=False)
        alive = np.load(folder / "alive.npy", allow_pickle=False)
        order = np.load(folder / "order.npy", allow_pickle=False)
        ids = read_ids(folder)
        count = facts["rows"]
        shapes = (z.shape == (count, facts["dim"]), alive.shape == order.shape == (count,), len(ids) == count)
        kinds = (z.dtype == np.float32, alive.dtype == bool, order.dtype == np.int64)
        if not all((*shapes, *kinds)):
            raise ValueError("the files do not fit each other")
        VectorIndex.__init__(self)
        self._forget()
        self._parts, self._ids, self._alive, self._row_of, self._ranks = [z], ids, alive, None, order
        self._living = None
        self._read(folder)
        self._choose(facts.get("chosen", {}))
        return self


def _ordered(rows: np.ndarray, scores: np.ndarray, places: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and scores [b, k] of the best, ties by place."""
    order = np.lexsort((places[rows], -scores), axis=-1)[:, :k]
    if len(rows) == 1:
        return rows[:, order[0]], scores[:, order[0]]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)


def checked_ids(ids: Iterable[str], count: int) -> list[str]:
    """Ids as they may be added with `count` vectors: different strings that are not empty."""
    names = list(ids)
    if len(names) != count:
        raise DataError(f"{len(names)} ids do not fit {count} vectors")
    if any(not isinstance(i, str) or not i for i in names):
        raise DataError("ids must be strings that are not empty")
    names = [str(i) for i in names]
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = next(i for i in names if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise DataError(f"the id {twice!r} is given twice: which vector should it have?")
    return names


def checked_vectors(z: np.ndarray, what: str, dim: int | None) -> np.ndarray:
    """[n, d] float32 rows of length 1; another width, zeros and what is not finite raise `DataError`."""
    z = np.asarray(z)
    if z.ndim != 2 or (len(z) and not z.shape[1]):
        raise DataError(f"the {what} must be a matrix [n, d], not of shape {z.shape}")
    if len(z) and dim not in (None, z.shape[1]):
        raise DataError(f"the {what} have {z.shape[1]} dimensions and the index {dim}: use one model for both")
    z = np.asarray(z, np.float32)
    if len(z) == 1 and abs(float(z[0] @ z[0]) - 1) <= UNIT:
        return z
    length = np.sqrt(np.einsum("nd,nd->n", z, z, dtype=np.float64))
    near_one = np.abs(length - 1) <= UNIT
    if near_one.all():
        return z
    for wrong, words in ((~np.isfinite(length), "a value that is not finite"), (length == 0, "nothing but zeros")):
        if wrong.any():
            raise DataError(f"row {int(wrong.argmax())} of the {what} holds {words}")
    z = z.copy()
    z[~near_one] = z[~near_one] / length[~near_one, None]
    return z


def checked_queries(z: np.ndarray, k: int, dim: int | None) -> np.ndarray:
    """Queries as `checked_vectors` gives them, for a search of `k` items."""
    if k < 1:
        raise DataError(f"k is {k}: ask for at least 1 item")
    return checked_vectors(z, "queries", dim)


def write_ids(folder: Path, ids: Sequence[str]) -> None:
    """Write the ids of an index's rows beside its arrays."""
    import pyarrow as pa

    table = pa.table({"id": pa.array(ids, pa.string())})
    with pa.OSFile(str(folder / "ids.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def read_ids(folder: Path) -> list[str]:
    """What `write_ids` wrote."""
    import pyarrow as pa

    with pa.memory_map(str(folder / "ids.arrow")) as source:
        ids: list[str] = pa.ipc.open_file(source).read_all()["id"].to_pylist()
    return ids


def write_version(folder: str | Path, write: Callable[[Path], None], facts: dict[str, Any]) -> Path:
    """Write a folder's next version `v000N` and point `current.json` at it, in this order, each step whole or not.

    Args:
        write: fills the folder it is given; folders inside it are synchronised by whoever makes them.
        facts: kept in `current.json`, beside the version and the sizes of its files.
    """
    folder = Path(folder)
    temporary = folder / f".writing-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        write(temporary)
        files = sorted(f.relative_to(temporary) for f in temporary.rglob("*") if f.is_file())
        for file in files:
            _sync(temporary / file)
        _sync(temporary)
        number = max([0, *(int(v.name[1:]) for v in _versions(folder))]) + 1
        version = folder / f"v{number:04d}"
        os.rename(temporary, version)
        pointer = folder / f".{CURRENT}-{os.getpid()}"
        sizes = {f.as_posix(): (version / f).stat().st_size for f in files}
        pointer.write_text(json.dumps({**facts, "version": version.name, "files": sizes}), encoding="utf-8")
        _sync(pointer)
        os.replace(pointer, folder / CURRENT)
        _sync(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        reason = error.strerror or error
        raise DataError(f"could not write the index to {folder}: {reason}. What was there is untouched") from None
    for old in [v for v in _versions(folder) if v != version] + [f for f in folder.glob(".*-*") if _left_over(f)]:
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                old.unlink()
    return folder


def saved_facts(folder: str | Path) -> dict[str, Any]:
    """What stands in `current.json`: the part's class and options, rows, width, version and files."""
    try:
        return _current(Path(folder))
    except FileNotFoundError:
        raise DataError(f"{folder} holds no saved index: build one with `tellapart index`") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"the index in {folder} is damaged: {error}. Build it again") from None


def read_version(folder: str | Path, read: Callable[[Path, dict[str, Any]], R]) -> R:
    """Read the current version of a folder; one that is replaced meanwhile is read anew."""
    folder = Path(folder)
    version = folder
    for last in (False, False, False, True):
        try:
            facts = _current(folder)
            version = folder / facts["version"]
            for name, size in facts["files"].items():
                if (version / name).stat().st_size != size:
                    raise ValueError(f"{name} is cut short or was changed")
            return read(version, facts)
        except FileNotFoundError:
            if last or not (folder / CURRENT).is_file():
                raise DataError(f"{folder} holds no saved index (or a part of it is missing)") from None
        except DataError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            if not version.is_dir() and not last:
                continue
            raise DataError(f"the index in {folder} is damaged: {error}. Build it again") from None
    raise AssertionError("unreachable")


def _current(folder: Path) -> dict[str, Any]:
    with (folder / CURRENT).open(encoding="utf-8") as file:
        facts: dict[str, Any] = json.loads(file.read(MOST_BYTES_OF_JSON))
    names = [facts["version"], *facts["files"]]
    if not all(isinstance(n, str) and re.fullmatch(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*", n) for n in names):
        raise ValueError(f"{CURRENT} names files that cannot be its own")
    return facts


def _versions(folder: Path) -> list[Path]:
    return [v for v in folder.glob("v[0-9]*") if v.is_dir() and v.name[1:].isdigit()]


def _left_over(file: Path) -> bool:
    """Whether a temporary file belongs to a process that is gone."""
    pid = file.name.rpartition("-")[2]
    if not (pid.isdigit() and file.name.startswith((".writing-", READING, f".{CURRENT}-"))):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return int(pid) == os.getpid() and not file.name.startswith(READING)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
