"""A table of vectors in LanceDB: files in a folder or in object storage, read in blocks, changed in whole versions."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from tellapart.core.errors import BackendAwayError, DataError
from tellapart.core.needs import require
from tellapart.parts.index._remote import ROWS_A_BLOCK, Block

ITEMS_A_CELL = 1_048_576
IDS_A_LOOK = 1000
R = TypeVar("R")


class Table:
    """A `Store` in a Lance table with the columns `id` and `z`.

    Args:
        place: a folder, or the address of a storage.
        dim: width of a new table; None opens the one that is there.
        settings: links, construction and refine.
        shared: others may write to it.
    """

    def __init__(self, place: str, name: str, dim: int | None, settings: tuple[int, int, int], *, shared: bool) -> None:
        self.place, self.name, self._settings, self._shared = place, name, settings, shared
        lancedb = require("lancedb", "the index lancedb")
        how = {"read_consistency_interval": timedelta(0)} if shared else {}
        self._database = self._do(lambda: lancedb.connect(place, **how))
        if dim is None:
            self._table = self._do(lambda: self._database.open_table(name))
            self.dim = int(self._table.schema.field("z").type.list_size)
        else:
            self.dim = dim
            self._table = self._do(lambda: self._database.create_table(name, schema=self._schema()))
        self._cells = 1 + self.count() // ITEMS_A_CELL

    def _schema(self) -> pa.Schema:
        return pa.schema([pa.field("id", pa.string(), False), pa.field("z", pa.list_(pa.float32(), self.dim), False)])

    def _do(self, call: Callable[[], R]) -> R:
        try:
            return call()
        except (OSError, RuntimeError, ValueError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            if "://" in self.place:
                raise BackendAwayError(f"{self.place} does not answer: {said}. Try again later") from None
            raise DataError(f"the Lance table {self.name} in {self.place} cannot be used: {said}") from None

    def put(self, ids: list[str], z: np.ndarray) -> None:
        """One version of the table."""
        values = pa.FixedSizeListArray.from_arrays(pa.array(z.ravel(), pa.float32()), self.dim)
        rows = pa.Table.from_arrays([pa.array(ids, pa.string()), values], schema=self._schema())
        merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        self._do(lambda: merge.execute(rows))

    def drop(self, ids: list[str]) -> list[str]:
        known = {i for start in range(0, len(ids), IDS_A_LOOK) for i in self.get(ids[start : start + IDS_A_LOOK])[0]}
        unknown = [i for i in ids if i not in known]
        if not unknown:
            self._do(lambda: self._table.delete(_among(ids)))
        return unknown

    def count(self) -> int:
        return int(self._do(self._table.count_rows))

    def get(self, ids: list[str]) -> Block:
        found = [
            self._do(lambda p=ids[s : s + IDS_A_LOOK]: self._table.search().where(_among(p)).limit(len(p)).to_arrow())
            for s in range(0, len(ids), IDS_A_LOOK)
        ]
        return self._block(pa.concat_tables(found)) if found else ([], np.zeros((0, self.dim), np.float32))

    def near(self, z: np.ndarray, wanted: int, width: int, among: list[str] | None) -> list[Block]:
        queries = z[0] if len(z) == 1 else z
        search = self._table.search(queries, vector_column_name="z").distance_type("dot").limit(wanted)
        refine = self._settings[2]
        search = search.select(["id", "z", "_distance"]).ef(max(width, wanted * refine)).refine_factor(refine)
        search = search.nprobes(self._cells)
        if among is not None:
            search = search.where(_among(among), prefilter=True)
        found = self._do(search.to_arrow)
        if len(z) == 1:
            return [self._block(found)]
        ids, vectors = self._block(found)
        query = found["query_index"].to_numpy()
        rows = [np.flatnonzero(query == n) for n in range(len(z))]
        return [([ids[r] for r in own], vectors[own]) for own in rows]

    def blocks(self, vectors: bool) -> Iterator[Block]:
        search = self._table.search().select(["id", "z"] if vectors else ["id"])
        batches = self._do(lambda: search.limit(max(1, self.count())).to_batches(ROWS_A_BLOCK))
        while (batch := self._do(lambda: next(batches, None))) is not None:
            for start in range(0, len(batch), ROWS_A_BLOCK):
                yield self._block(pa.Table.from_batches([batch.slice(start, ROWS_A_BLOCK)]))

    def index(self) -> None:
        from lancedb.index import HnswSq

        links, construction, _ = self._settings
        self._cells = 1 + self.count() // ITEMS_A_CELL
        how = HnswSq(distance_type="dot", num_partitions=self._cells, m=links, ef_construction=construction)
        self._do(lambda: self._table.create_index("z", config=how, replace=True))
        self.settle()

    def settle(self) -> None:
        """Join small pieces; versions that nobody else can be reading go."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            keep = None if self._shared else timedelta(0)
            self._do(lambda: self._table.optimize(cleanup_older_than=keep, delete_unverified=not self._shared))

    def ready(self) -> None:
        self._do(self._table.count_rows)

    def remove(self) -> None:
        if self._shared:
            self._do(lambda: self._database.drop_table(self.name, ignore_missing=True))
        else:
            shutil.rmtree(self.place, ignore_errors=True)

    def bytes(self) -> int:
        if not self._shared or "://" in self.place:
            return 0
        return sum(f.stat().st_size for f in (Path(self.place) / f"{self.name}.lance").rglob("*") if f.is_file())

    def _block(self, rows: pa.Table) -> Block:
        ids = rows["id"].to_pylist()
        if "z" not in rows.column_names:
            return ids, np.zeros((len(ids), 0), np.float32)
        flat = [c.flatten().to_numpy(zero_copy_only=False) for c in rows["z"].chunks]
        return ids, np.concatenate([np.zeros(0, np.float32), *flat]).reshape(len(ids), self.dim)


def _among(ids: Sequence[str]) -> str:
    quoted = ", ".join("'" + i.replace("'", "''") + "'" for i in ids)
    return f"id IN ({quoted})"
