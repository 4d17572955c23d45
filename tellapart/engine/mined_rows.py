"""Training rows for others from what was mined: triplets, n-tuples or labelled pairs, as Parquet or JSONL."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from tellapart.core.errors import DataError
from tellapart.engine.evaluate import Relevant

ROWS_A_BATCH = 65_536
Form = Literal["triplet", "n-tuple", "labeled-pair"]


def write(
    table: pa.Table,
    path: str | Path,
    anchors: pa.Array | pa.ChunkedArray,
    documents: pa.Array | pa.ChunkedArray,
    positives: Any,
    *,
    form: Form = "triplet",
    negatives: int = 1,
) -> int:
    """Write training rows with the values behind the row numbers, as .parquet or .jsonl, a batch at a time.

    A query with several positives is written with each of them.

    Args:
        anchors, documents: columns of the values (texts, paths) of queries and documents.
        positives: as given to `mine`.
        form: "triplet": anchor, positive, negative, a row for each negative. "n-tuple": anchor, positive, negative_1 …
            negative_N with N = `negatives`; queries with fewer are left out. "labeled-pair": anchor, positive, label,
            where label 1 is a positive and 0 a negative (the column keeps its name, as sentence-transformers has it).

    Returns:
        How many rows were written.

    Raises:
        DataError: an unknown form or ending.
    """
    if form not in ("triplet", "n-tuple", "labeled-pair"):
        raise DataError(f"form={form!r}: choose triplet, n-tuple or labeled-pair")
    answers = Relevant.of(positives)

    def batches() -> Iterator[pa.Table]:
        for rows in _row_batches(table, answers, form, negatives):
            columns: dict[str, Any] = {"anchor": anchors.take(pa.array(rows["anchor"]))}
            for name, numbers in rows.items():
                if name == "label":
                    columns[name] = pa.array(numbers)
                elif name != "anchor":
                    columns[name] = documents.take(pa.array(numbers))
            yield pa.table(columns)

    nothing = "no query has the negatives that this form needs: lower the margin or the number of negatives"
    return _written(batches(), Path(path), nothing)


def write_reasons(table: pa.Table, path: str | Path, query_ids: pa.ChunkedArray, document_ids: pa.ChunkedArray) -> int:
    """Write every candidate, kept or not, with the ids behind the row numbers, as .parquet or .jsonl.

    Returns:
        How many rows were written.

    Raises:
        DataError: an unknown ending.
    """

    def batches() -> Iterator[pa.Table]:
        for batch in table.to_batches(max_chunksize=ROWS_A_BATCH):
            block = pa.Table.from_batches([batch])
            for name, ids in (("query", query_ids), ("document", document_ids)):
                block = block.set_column(block.column_names.index(name), name, ids.take(block[name]))
            yield block.set_column(block.column_names.index("rule"), "rule", block["rule"].cast(pa.string()))

    return _written(batches(), Path(path), "nothing was mined")


def _written(batches: Iterator[pa.Table], path: Path, nothing: str) -> int:
    if path.suffix not in (".parquet", ".jsonl"):
        raise DataError(f"{path.name}: pairs are written as .parquet or .jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    count = 0
    try:
        with _Sink(temporary, path.suffix) as sink:
            for batch in batches:
                sink.write(batch)
                count += len(batch)
        if count == 0:
            raise DataError(nothing)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _row_batches(table: pa.Table, positives: Relevant, form: Form, negatives: int) -> Iterator[dict[str, np.ndarray]]:
    """Row numbers of the training rows, a block of the table at a time."""
    for kept in _kept_blocks(table):
        query, document = kept["query"].to_numpy(), kept["document"].to_numpy()
        if form == "n-tuple":
            first = np.concatenate([[0], np.flatnonzero(np.diff(query)) + 1]) if len(query) else np.zeros(0, np.int64)
            first = first[np.diff(np.append(first, len(query))) >= negatives]
            chosen = document[first[:, None] + np.arange(negatives)] if len(first) else np.zeros((0, negatives), int)
            at, positive = _expanded(query[first], positives)
            rows = {"anchor": query[first][at], "positive": positive}
            yield rows | {f"negative_{n + 1}": chosen[at, n] for n in range(negatives)}
        elif form == "triplet":
            at, positive = _expanded(query, positives)
            yield {"anchor": query[at], "positive": positive, "negative": document[at]}
        else:
            anchors = np.unique(query)
            at, positive = _expanded(anchors, positives)
            anchor = np.concatenate([anchors[at], query])
            order = np.argsort(anchor, kind="stable")
            label = np.concatenate([np.ones(len(at), np.int64), np.zeros(len(query), np.int64)])
            yield {
                "anchor": anchor[order],
                "positive": np.concatenate([positive, document])[order],
                "label": label[order],
            }


def _kept_blocks(table: pa.Table) -> Iterator[pa.Table]:
    """Kept rows in blocks that never cut a query in two."""
    left = None
    for batch in table.select(["query", "document", "kept"]).to_batches(max_chunksize=ROWS_A_BATCH):
        block = pa.Table.from_batches([batch])
        block = block.filter(block["kept"])
        block = block if left is None else pa.concat_tables([left, block])
        query = block["query"].to_numpy()
        cut = int(np.searchsorted(query, query[-1])) if len(query) else 0
        yield block.slice(0, cut)
        left = block.slice(cut)
    if left is not None:
        yield left


def _expanded(queries: np.ndarray, positives: Relevant) -> tuple[np.ndarray, np.ndarray]:
    """For each query all its positives: (place in `queries`, document)."""
    if positives.targets is not None:
        targets, documents = positives.targets
        found = [np.flatnonzero((documents == targets[i]) & (documents >= 0)) for i in queries]
        at = np.repeat(np.arange(len(queries)), [len(rows) for rows in found])
        return at, np.concatenate([*found, np.zeros(0, np.int64)])
    count = positives.starts[queries + 1] - positives.starts[queries]
    at = np.repeat(np.arange(len(queries)), count)
    within = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count)
    return at, positives.rows[positives.starts[queries][at] + within]


class _Sink:
    """A Parquet or JSONL file that grows by tables."""

    def __init__(self, path: Path, suffix: str) -> None:
        self.path, self.suffix = path, suffix
        self.file: Any = None
        self.writer: Any = None

    def __enter__(self) -> _Sink:
        if self.suffix == ".jsonl":
            self.file = self.path.open("w", encoding="utf-8")
        return self

    def write(self, table: pa.Table) -> None:
        if self.file is not None:
            for row in table.to_pylist():
                self.file.write(json.dumps(row, ensure_ascii=False) + "\n")
            return
        import pyarrow.parquet as pq

        if self.writer is None:
            self.writer = pq.ParquetWriter(self.path, table.schema)
        self.writer.write_table(table)

    def __exit__(self, *error: object) -> None:
        for opened in (self.file, self.writer):
            if opened is not None:
                opened.close()
