"""What is searched at one moment, unchanging: what a run or a fold wrote, and above it what was changed since.

A search of both parts gives what a search of one index with all items would: the same scores, the same order, ties by
id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.hits import Hits
from tellapart.core.nearest import exact_scores, resolution
from tellapart.core.vectors import LONGEST, UNIT
from tellapart.server import filters
from tellapart.server.limits import ID_CHARACTERS, NoSuchItemError

SPARE = 64
FIRST_ROOM = 64
PACK_FROM = 1024


class Base:
    """A collection with its index, as they lie on the disk.

    Args:
        seq: up to which change of the journal is in it.
        version: names it among others of the same run.
        folder: where the index was read from; None: it was given.
    """

    def __init__(
        self, collection: Collection, index: Any, *, seq: int = 0, version: str = "", folder: Path | None = None
    ) -> None:
        self.collection, self.index, self.seq, self.version, self.folder = collection, index, seq, version, folder
        self._aligned: tuple[Any, np.ndarray] = (None, np.zeros(0, np.int64))

    @cached_property
    def indexed(self) -> np.ndarray:
        """[n] bool, which items of the collection the index holds."""
        held = np.zeros(len(self.collection), bool)
        rows = self.rows(np.asarray(self.index.ids, object))
        held[rows[rows >= 0]] = True
        return held

    @cached_property
    def strays(self) -> int:
        """How many items the index holds that the collection does not: it may be older than the collection."""
        return int(len(self.index.ids) - self.indexed.sum())

    def rows(self, names: np.ndarray) -> np.ndarray:
        """Rows of the collection by id, -1 where it has none; those of the index's own array are kept."""
        of, rows = self._aligned
        if of is not names:
            row_of = self.collection.row_of
            rows = np.fromiter((row_of.get(i, -1) for i in names), np.int64, len(names))
            self._aligned = (names, rows)
        return rows


class _Store:
    """Room that overlays share: rows are only ever put behind those that an overlay counts."""

    def __init__(self) -> None:
        self.z = np.empty((0, 0), np.float32)
        self.ids: list[str] = []
        self.rows: list[dict[str, Any]] = []

    def put(self, ids: Sequence[str], rows: Sequence[dict[str, Any]], z: np.ndarray) -> None:
        if not ids:
            return
        end = len(self.ids) + len(ids)
        if end > len(self.z):
            grown = np.empty((max(end, 2 * len(self.z), FIRST_ROOM), z.shape[1]), np.float32)
            grown[: len(self.ids)] = self.z[: len(self.ids)] if self.ids else 0
            self.z = grown
        self.z[len(self.ids) : end] = z
        self.ids.extend(ids)
        self.rows.extend(rows)


@dataclass(frozen=True)
class Overlay:
    """Items beside those of the base, compared one by one.

    Attributes:
        z: [at least count, d] float32 unit vectors; only the first `count` are of this overlay.
        alive: [count] bool; the others were changed again or deleted.
        place: by id, of those that are alive.
        tables: the rows as Arrow tables of the schema of the base, one behind the other.
    """

    store: _Store
    z: np.ndarray
    count: int
    alive: np.ndarray
    place: Mapping[str, int]
    tables: tuple[pa.Table, ...]
    schema: pa.Schema

    @staticmethod
    def empty(schema: pa.Schema) -> Overlay:
        """None so far."""
        store = _Store()
        return Overlay(store, store.z, 0, np.zeros(0, bool), {}, (), schema)

    def __len__(self) -> int:
        return len(self.place)

    def row(self, id_: str) -> dict[str, Any]:
        """The columns of an item."""
        return self.store.rows[self.place[id_]]

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """[n, d] of items that are alive here."""
        return self.z[[self.place[i] for i in ids]]

    def but(self, gone: Sequence[str], ids: Sequence[str], rows: Sequence[dict[str, Any]], z: np.ndarray) -> Overlay:
        """An overlay without some items and with others, which replace those of the same id. This one stays as it is.

        Raises:
            DataError: a row does not fit the columns.
        """
        if self.count != len(self.store.ids) or (self.count > PACK_FROM and 2 * len(self.place) < self.count):
            return self._packed().but(gone, ids, rows, z)
        table = table_of(rows, self.schema)
        place, alive = dict(self.place), np.concatenate([self.alive, np.ones(len(ids), bool)])
        for id_ in (*gone, *ids):
            if id_ in place:
                alive[place.pop(id_)] = False
        place |= zip(ids, range(self.count, self.count + len(ids)), strict=True)
        self.store.put(ids, rows, z)
        tables = [*self.tables, table] if len(table) else list(self.tables)
        while len(tables) > 1 and len(tables[-2]) < 2 * len(tables[-1]):
            tables[-2:] = [pa.concat_tables(tables[-2:]).unify_dictionaries().combine_chunks()]
        return Overlay(self.store, self.store.z, self.count + len(ids), alive, place, tuple(tables), self.schema)

    def nearest(self, z: np.ndarray, k: int, passing: np.ndarray | None) -> Hits:
        """The k nearest of each query, with the scores that an index gives, ties by id."""
        kept = np.flatnonzero(self.alive if passing is None else passing)
        k = min(k, len(kept))
        ids, scores = np.full((len(z), k), "", object), np.full((len(z), k), -np.inf, np.float32)
        if k:
            some = self.z[kept]
            for q in range(len(z)):
                near = some @ z[q]
                least = np.partition(near, len(near) - k)[len(near) - k] - 2 * resolution(z[q : q + 1], LONGEST)[0, 0]
                best = np.flatnonzero(near >= least)
                exact = exact_scores(np.repeat(z[q : q + 1], len(best), 0), some[best])
                found = sorted(zip((-exact).tolist(), (self.store.ids[kept[b]] for b in best), strict=True))[:k]
                ids[q], scores[q] = [i for _, i in found], [-s for s, _ in found]
        return Hits(ids.astype(str), scores)

    def table(self) -> pa.Table:
        """[count] rows."""
        return pa.concat_tables([self.schema.empty_table(), *self.tables]).unify_dictionaries()

    def _packed(self) -> Overlay:
        kept = np.flatnonzero(self.alive)
        store = _Store()
        ids = [self.store.ids[i] for i in kept]
        store.put(ids, [self.store.rows[i] for i in kept], self.z[kept])
        table = self.table().take(pa.array(kept)).combine_chunks()
        place = {id_: n for n, id_ in enumerate(ids)}
        return Overlay(
            store, store.z, len(ids), np.ones(len(ids), bool), place, (table,) if len(ids) else (), self.schema
        )


@dataclass(frozen=True)
class Passing:
    """Which items pass: rows of the base and of the overlay, and how many both are."""

    base: np.ndarray
    overlay: np.ndarray
    count: int


@dataclass(frozen=True)
class Snapshot:
    """All that is searched at one moment.

    Attributes:
        seq: the latest change of the journal that it knows.
        gone: [n] bool, the items of the base that were deleted or replaced.
        filed: items whose picture or window lies in the journal, with the change that brought it.
    """

    base: Base
    overlay: Overlay
    gone: np.ndarray
    seq: int
    filed: Mapping[str, int]

    @staticmethod
    def of(base: Base, *, filed: Mapping[str, int] | None = None) -> Snapshot:
        """The base alone."""
        collection = base.collection
        overlay = Overlay.empty(collection.table.schema)
        return Snapshot(base, overlay, np.zeros(len(collection), bool), base.seq, filed or {})

    def but(
        self, gone: Sequence[str], ids: Sequence[str], rows: Sequence[dict[str, Any]], z: np.ndarray, **known: Any
    ) -> Snapshot:
        """One without some items, and with others in their or a new place; `known` are `seq` and `filed`."""
        row_of = self.base.collection.row_of
        away = [row_of[i] for i in (*gone, *ids) if i in row_of]
        out = self.gone
        if away:
            out = out.copy()
            out[away] = True
        return replace(self, gone=out, overlay=self.overlay.but(gone, ids, rows, z), **known)

    @cached_property
    def _gone(self) -> int:
        return int(np.count_nonzero(self.gone))

    def __len__(self) -> int:
        return len(self.base.collection) - self._gone + len(self.overlay)

    def __contains__(self, id_: str) -> bool:
        row = self.base.collection.row_of.get(id_)
        return id_ in self.overlay.place or (row is not None and not self.gone[row])

    @property
    def changed(self) -> bool:
        """Whether it is anything but its base."""
        return bool(self._gone or self.overlay.count)

    @cached_property
    def collection(self) -> Collection:
        """All items in one collection: those of the base in their order, then what came since. Made when asked for."""
        base = self.base.collection
        if not self.changed:
            return base
        kept = base.table if not self._gone else base.table.take(pa.array(np.flatnonzero(~self.gone)))
        more = self.overlay.table().take(pa.array(np.flatnonzero(self.overlay.alive)))
        table = pa.concat_tables([kept, more.replace_schema_metadata(kept.schema.metadata)]).unify_dictionaries()
        return Collection(table, problems=base.problems)

    def known(self, id_: str) -> str:
        """The id, if there is such an item; `NoSuchItemError` if not."""
        if len(id_) > ID_CHARACTERS or id_ not in self:
            raise NoSuchItemError(f"there is no item {id_[:80]!r} in this collection of {len(self)}")
        return id_

    def row(self, id_: str) -> dict[str, Any]:
        """The columns of an item; an unknown one raises `NoSuchItemError`."""
        if self.known(id_) in self.overlay.place:
            return self.overlay.row(id_)
        return self.base.collection.item(id_)

    def value(self, id_: str, column: str) -> Any:
        """One column of an item that is there; None where it has no value, or nothing has that column."""
        if id_ in self.overlay.place:
            return self.overlay.row(id_).get(column)
        table = self.base.collection.table
        place = table.schema.get_field_index(column)
        return table.column(place)[self.base.collection.row_of[id_]].as_py() if place >= 0 else None

    def has(self, id_: str, column: str) -> bool:
        """Whether an item has a value in a column."""
        if id_ in self.overlay.place:
            return self.overlay.row(id_).get(column) is not None
        base = self.base.collection
        return bool(base[column][base.row_of[id_]].is_valid)

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """[n, d] float32 vectors that are searched; an unknown id raises `NoSuchItemError`."""
        new = np.asarray([self.known(i) in self.overlay.place for i in ids], bool)
        if not new.any():
            return np.asarray(self.base.index.vectors(list(ids)), np.float32)
        out = np.empty((len(ids), self.overlay.z.shape[1]), np.float32)
        out[new] = self.overlay.vectors([i for i, n in zip(ids, new, strict=True) if n])
        if not new.all():
            out[~new] = self.base.index.vectors([i for i, n in zip(ids, new, strict=True) if not n])
        return out

    def passing(self, where: Mapping[str, Any]) -> Passing | None:
        """Which items pass all conditions (see `filters.mask`); None where there are none."""
        base = filters.mask(self.base.collection, where)
        if base is None:
            return None
        overlay = filters.mask(cast(Collection, _Rows(self.overlay)), where)
        assert overlay is not None
        base, overlay = base & ~self.gone, overlay & self.overlay.alive
        return Passing(base, overlay, int(base.sum() + overlay.sum()))

    def ids_of(self, passing: Passing) -> list[str]:
        """The ids of what passes."""
        base = self.base.collection.ids[passing.base].tolist()
        return [*base, *(self.overlay.store.ids[i] for i in np.flatnonzero(passing.overlay))]

    def spread(self, k: int, passing: Passing | None) -> list[str]:
        """At most k ids from all over what passes."""
        base = np.flatnonzero(~self.gone if passing is None else passing.base)
        overlay = np.flatnonzero(self.overlay.alive if passing is None else passing.overlay)
        total = len(base) + len(overlay)
        if not total:
            return []
        places = np.unique(np.linspace(0, total - 1, min(k, total)).astype(np.int64))
        ids = self.base.collection.table["id"]
        return [
            ids[int(base[p])].as_py() if p < len(base) else self.overlay.store.ids[overlay[p - len(base)]]
            for p in places
        ]

    def nearest(self, z: np.ndarray, k: int, passing: Passing | None = None) -> Hits:
        """The k nearest items of each query z [queries, d], best first, ties by id; fewer where there are fewer."""
        z = unit_rows(z)
        hits = self._of_base(z, k, None if passing is None else passing.base)
        if not len(self.overlay):
            return hits
        more = self.overlay.nearest(z, k, None if passing is None else passing.overlay)
        ids = np.concatenate([hits.ids, more.ids], 1)
        return Hits.sorted(ids, np.concatenate([hits.scores, more.scores], 1), min(k, ids.shape[1]))

    @cached_property
    def _findable(self) -> np.ndarray:
        """[n] bool, what the index of the base may give."""
        return np.asarray(self.base.indexed & ~self.gone)

    @cached_property
    def _findable_count(self) -> int:
        return int(np.count_nonzero(self._findable))

    def _of_base(self, z: np.ndarray, k: int, passing: np.ndarray | None) -> Hits:
        index = self.base.index
        if passing is None:
            # a few more than are wanted instead of a filter: most of what is gone lies far from any query
            wanted = min(k, self._findable_count)
            spare = min(self._gone + self.base.strays, SPARE)
            hits = index.search(z, max(wanted + spare, 1)) if wanted else _nothing(len(z))
            row_of = self.base.collection.row_of
            bad = np.asarray(
                [[(row := row_of.get(i)) is None or self.gone[row] for i in found] for found in hits.ids.tolist()], bool
            ).reshape(hits.ids.shape)
            if ((~bad).sum(1) >= wanted).all():
                if not bad.any():
                    return Hits(hits.ids[:, :wanted], hits.scores[:, :wanted])
                return Hits.sorted(np.where(bad, "", hits.ids), hits.scores, wanted) if wanted else _nothing(len(z))
        allowed = np.append(self._findable if passing is None else passing, False)
        if not allowed.any():
            return _nothing(len(z))
        found: Hits = index.search(z, k, filter=lambda names: allowed[self.base.rows(names)])
        return found


class _Rows:
    """As much of a collection as filters read, over all rows of an overlay."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay, self._table = overlay, overlay.table()
        self.columns = list(overlay.schema.names)

    def __len__(self) -> int:
        return self._overlay.count

    def __getitem__(self, column: str) -> pa.ChunkedArray:
        return self._table[column]


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of a schema; a row that does not fit raises `DataError`."""
    try:
        return pa.Table.from_pylist([dict(r) for r in rows], schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeError) as error:
        raise DataError(f"an item does not fit the columns of the collection: {str(error)[:200]}") from None


def unit_rows(z: np.ndarray) -> np.ndarray:
    """[n, d] float32 rows of length 1, to the bit as an index keeps them."""
    z = np.asarray(z, np.float32)
    length = np.sqrt(np.einsum("nd,nd->n", z, z, dtype=np.float64))
    off = np.abs(length - 1) > UNIT
    if off.any():
        z = z.copy()
        z[off] = z[off] / length[off, None]
    return z


def _nothing(queries: int) -> Hits:
    return Hits(np.full((queries, 0), "", "<U1"), np.full((queries, 0), -np.inf, np.float32))
