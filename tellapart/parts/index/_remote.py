"""Vectors that another engine holds: what the indexes in databases share.

An engine gives a `Store`: take in, take out, count, fetch, propose the nearest. Around it stand here the same checks,
filters, exact scores, order of ties and versions that an index in memory has. Of n items nothing of length n is held.
"""

from __future__ import annotations

import inspect
import secrets
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from tellapart.core.errors import DataError, near
from tellapart.core.hits import Hits
from tellapart.core.nearest import exact_scores, nearest
from tellapart.core.vectors import (
    LONGEST,
    Filter,
    checked_ids,
    checked_queries,
    checked_vectors,
    read_version,
    saved_facts,
    write_version,
)
from tellapart.core.widening import Widening, steps

INDEX_FROM = 10_000
FEW = 256
MOST_PUSHED = 5_000
MOST_WANTED = 10_000
ROWS_A_BLOCK = 4096

Block = tuple[list[str], np.ndarray]


class Store(Protocol):
    """What an engine does for an index. A call that it cannot answer raises `BackendAwayError` in words."""

    dim: int

    def put(self, ids: list[str], z: np.ndarray) -> None:
        """Take in or replace; what has returned is kept by the engine."""

    def drop(self, ids: list[str]) -> list[str]:
        """Take out all of them, or none and give those that are not there."""

    def count(self) -> int:
        """How many items there are."""

    def get(self, ids: list[str]) -> Block:
        """Ids and vectors of those that are there, in any order."""

    def near(self, z: np.ndarray, wanted: int, width: int, among: list[str] | None) -> list[Block]:
        """For each query ids and vectors of about the `wanted` nearest, of all or of a few thousand."""

    def blocks(self, vectors: bool) -> Iterator[Block]:
        """All items in blocks; without vectors these are of width 0."""

    def index(self) -> None:
        """Make the engine's own index, or bring it up to date."""

    def ready(self) -> None:
        """Return if the engine answers."""

    def remove(self) -> None:
        """Take away everything that this store holds."""

    def bytes(self) -> int:
        """What it takes outside the folder that the index is saved in."""


class RemoteIndex(Widening):
    """An index over a `Store`. A part says how one is made, how it is opened again, and what is kept of it.

    Each index that is filled anew has a store of its own under a new name, so that building one never touches what is
    being searched; one that was never saved takes its store away with it.
    """

    leaves: ClassVar[Mapping[str, tuple[int, ...]]] = {"width": steps(64, 1000)}

    def __init__(self) -> None:
        super().__init__()
        self._store: Any = None
        self._name = ""
        self._indexed = True
        self._unsaved: Any = None

    def _make(self, name: str, dim: int) -> Any:
        """A new store."""
        raise NotImplementedError

    def _open(self, version: Path, facts: dict[str, Any]) -> Any:
        """The store that these facts, and what stands in the version's folder, are of."""
        raise NotImplementedError

    def _keep(self, version: Path) -> None:
        """Write into a version's folder what the engine holds nowhere else."""

    def _told(self) -> dict[str, Any]:
        """What `_open` wants to know: no password."""
        return {}

    def _named(self, name: str) -> Any:
        """The store of that name, to take away; None where versions need no taking away."""
        return None

    def __len__(self) -> int:
        return 0 if self._store is None else int(self._store.count())

    @property
    def ids(self) -> np.ndarray:
        """[n] object array of all ids, read from the engine, sorted."""
        names = [] if self._store is None else [i for block, _ in self._store.blocks(False) for i in block]
        out = np.empty(len(names), object)
        out[:] = sorted(names)
        return out

    @property
    def dim(self) -> int | None:
        """Width of the vectors; None before the first."""
        return None if self._store is None else int(self._store.dim)

    @property
    def options(self) -> dict[str, Any]:
        """The options that it was made with, by name."""
        given = inspect.signature(type(self).__init__).parameters.values()
        return {p.name: getattr(self, p.name) for p in given if p.kind is p.KEYWORD_ONLY}

    def ready(self) -> None:
        """Raise `BackendAwayError` where the engine does not answer."""
        if self._store is not None:
            self._store.ready()

    def elsewhere(self) -> int:
        """Bytes that the engine holds outside the saved folder."""
        return 0 if self._store is None else int(self._store.bytes())

    def add(self, ids: Sequence[str] | np.ndarray, z: np.ndarray) -> None:
        """Take in vectors, as `VectorIndex.add`; once this returns, the engine keeps them."""
        z = checked_vectors(z, "vectors", self.dim)
        names = checked_ids(ids, len(z))
        if not names:
            return
        if self._store is None:
            self._name = f"{getattr(self, 'table', 'tellapart')}_{secrets.token_hex(4)}"
            self._store = self._make(self._name, z.shape[1])
            self._unsaved = weakref.finalize(self, _remove, self._store)
        self._store.put(names, np.ascontiguousarray(z))
        self._indexed = False

    def delete(self, ids: Iterable[str]) -> None:
        """Take items out, all or, where one is not there, none."""
        names = list(dict.fromkeys(ids))
        unknown = names if self._store is None else self._store.drop(names) if names else []
        if unknown:
            raise DataError(f"cannot delete {unknown[0]!r}: it is not in the index ({len(unknown)} unknown ids)")

    def search(self, z: np.ndarray, k: int, *, filter: Filter | None = None) -> Hits:
        """The k nearest items of each query, as `VectorIndex.search`: scores exact in float32, ties by id.

        A filter of up to 256 ids is compared whole, one of up to 5,000 goes to the engine; of a larger one the engine
        is asked for more than k until enough pass. A function is shown all ids, which are read for that: give ids.
        """
        z = checked_queries(z, k, self.dim)
        chosen = self._chosen(filter)
        if self._store is None or not len(z) or chosen == []:
            return _nothing(len(z))
        if chosen is not None and len(chosen) <= FEW:
            return _compare(z, k, self._fetched(chosen))
        self._index()
        if chosen is None or len(chosen) <= MOST_PUSHED:
            found = _rescored(z, self._near(z, k, chosen), k)
        else:
            found = self._sifted(z, k, set(chosen))
        short = np.flatnonzero((found.ids == "").any(1)) if found.ids.shape[1] == k else np.arange(len(z))
        if not len(short):
            return found
        rest = _compare(z[short], k, self._store.blocks(True) if chosen is None else self._fetched(chosen))
        if len(short) == len(z):
            return rest
        ids, scores = found.ids.astype(object)[:, : rest.ids.shape[1]], found.scores[:, : rest.ids.shape[1]].copy()
        ids[short], scores[short] = rest.ids, rest.scores
        return Hits(ids.astype(str), scores)

    def search_exactly(self, z: np.ndarray, k: int) -> Hits:
        """What `search` would give if it compared every item: all vectors are read once, in blocks."""
        z = checked_queries(z, k, self.dim)
        return _nothing(len(z)) if self._store is None or not len(z) else _compare(z, k, self._store.blocks(True))

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """[n, d] float32 unit vectors of these ids; an unknown one raises `DataError`."""
        names = [str(i) for i in ids]
        place: dict[str, np.ndarray] = {}
        if self._store is not None:
            for found, z in self._fetched(list(dict.fromkeys(names))):
                place.update(zip(found, z, strict=True))
        missing = [i for i in names if i not in place]
        if missing:
            raise DataError(f"there is no {missing[0]!r} in the index; {near(missing[0], list(place)[:1000])}")
        return np.stack([place[i] for i in names]) if names else np.zeros((0, self.dim or 0), np.float32)

    def save(self, folder: str | Path) -> Path:
        """Make this the index that the folder names, as `VectorIndex.save`.

        The one that it named before stays with the engine until the next takes its place: somebody may be reading it.
        """
        if self._store is None:
            raise DataError("an index without vectors cannot be saved: add some first")
        self._index()
        try:
            before = saved_facts(folder)
        except DataError:
            before = {}
        older = [str(n) for n in (before.get("name"), before.get("previous")) if n and n != self._name]
        facts = {"part": type(self).__name__, "options": self.options, "rows": len(self), "dim": self.dim}
        facts |= {"name": self._name, "previous": older[0] if older else "", "chosen": self.chosen, **self._told()}
        written = write_version(folder, self._keep, facts)
        if self._unsaved is not None and self._elsewhere:
            self._unsaved.detach()
            self._unsaved = None
        if before.get("part") == type(self).__name__:
            for name in older[1:]:
                store = self._named(name)
                if store is not None:
                    _remove(store)
        return written

    def load(self, folder: str | Path) -> Any:
        """Open the index that a folder names; gives itself back. Its engine must answer."""
        return read_version(folder, self._read)

    @property
    def _elsewhere(self) -> bool:
        """Whether the store outlives this process by itself."""
        return True

    def _read(self, version: Path, facts: dict[str, Any]) -> RemoteIndex:
        if facts["part"] != type(self).__name__:
            raise DataError(f"{version.parent} holds an index of {facts['part']}, not of {type(self).__name__}")
        if not isinstance(facts["name"], str):
            raise ValueError("its facts are not those of such an index")
        self._choose(facts["chosen"])
        self._store, self._name = self._open(version, facts), facts["name"]
        self._indexed = True
        self._unsaved = None if self._elsewhere else weakref.finalize(self, _remove, self._store)
        if self._store.dim != facts["dim"]:
            raise ValueError(f"what the engine holds has {self._store.dim} dimensions, not {facts['dim']}")
        return self

    def _index(self) -> None:
        if not self._indexed:
            if self._store.count() >= INDEX_FROM:
                self._store.index()
            self._indexed = True

    def _near(self, z: np.ndarray, wanted: int, among: list[str] | None) -> list[Block]:
        return self._store.near(z, wanted, max(self.looks("width"), wanted), among)

    def _sifted(self, z: np.ndarray, k: int, chosen: set[str]) -> Hits:
        """The best that pass, of more and more that the engine gives."""
        wanted = 4 * k
        while True:
            found = [_passing(block, chosen) for block in self._near(z, wanted, None)]
            if min(len(names) for names, _ in found) >= k or 4 * wanted > MOST_WANTED:
                return _rescored(z, found, k)
            wanted *= 4

    def _chosen(self, filter: Filter | None) -> list[str] | None:
        if filter is None:
            return None
        if isinstance(filter, str):
            raise DataError("a filter is a set of ids or a function, not one string")
        if not callable(filter):
            return list(dict.fromkeys(str(i) for i in filter))
        return [] if self._store is None else [i for b, _ in self._store.blocks(False) for i in _asked(filter, b)]

    def _fetched(self, ids: list[str]) -> Iterator[Block]:
        for start in range(0, len(ids), ROWS_A_BLOCK):
            yield self._store.get(ids[start : start + ROWS_A_BLOCK])


def _remove(store: Any) -> None:
    """Take a store away; one whose engine is gone already has nothing to take."""
    try:
        store.remove()
    except DataError:
        return


def _asked(filter: Callable[[np.ndarray], np.ndarray], names: list[str]) -> list[str]:
    array = np.empty(len(names), object)
    array[:] = names
    mask = np.asarray(filter(array))
    if mask.shape != array.shape or mask.dtype != bool:
        wanted = f"[{len(array)}] bool"
        raise DataError(f"a filter function gets the ids and gives {wanted}, not {mask.dtype} {mask.shape}")
    return array[mask].tolist()


def _passing(block: Block, chosen: set[str]) -> Block:
    names, z = block
    rows = [n for n, i in enumerate(names) if i in chosen]
    return [names[n] for n in rows], z[rows]


def _nothing(queries: int) -> Hits:
    return Hits(np.zeros((queries, 0), "U1"), np.zeros((queries, 0), np.float32))


def _rescored(z: np.ndarray, found: list[Block], k: int) -> Hits:
    """Exact scores of what was proposed, in order, cut at k; filled up where there are too few."""
    width = max(len(names) for names, _ in found)
    ids = np.full((len(z), width), "", object)
    scores = np.full((len(z), width), -np.inf, np.float32)
    for row, (names, vectors) in enumerate(found):
        ids[row, : len(names)] = names
        if names:
            scores[row, : len(names)] = exact_scores(z[row : row + 1], vectors)
    return Hits.sorted(ids, scores, k) if width else _nothing(len(z))


def _compare(z: np.ndarray, k: int, blocks: Iterable[Block]) -> Hits:
    """The k nearest among all rows of the blocks; fewer where there are fewer."""
    best = _nothing(len(z))
    for names, rows in blocks:
        if not names:
            continue
        order = np.argsort(np.asarray(names, object), kind="stable")
        rows = rows[order]
        columns = nearest(z, [rows], k, longest=LONGEST)[1]
        scores = np.stack([exact_scores(z[n : n + 1], rows[c]) for n, c in enumerate(columns)])
        ids = np.asarray(names, object)[order][columns].astype(str)
        best = Hits.sorted(np.concatenate([best.ids, ids], 1), np.concatenate([best.scores, scores], 1), k)
    return best
