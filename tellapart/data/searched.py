"""The documents that are searched, each with what the pairs say of it: a collection like any other, and whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.progress import Progress
from tellapart.data.groups import Sets
from tellapart.data.provenance import about, with_about
from tellapart.data.sources import documents

QUERY, DOCUMENT = "query_id", "document_id"


def searched(
    source: str | Path, pairs: Collection, *, cache: str | Path | None = None, progress: Progress | None = None
) -> Collection | None:
    """All documents of a format that keeps them apart from the pairs; None for any other.

    Beside `id` and the text of a document stand the first query that it answers (`anchor`), the part of the split that
    this query is in, and a `target`: documents that share a query, directly or through others, have one. They are
    missing for a document that answers no query.

    Args:
        pairs: what `read` gave for the same source, with a split.
    """
    found = documents(source, cache=cache, progress=progress)
    if found is None or DOCUMENT not in pairs.columns:
        return None
    return described(found, pairs)


def described(found: Collection, pairs: Collection, *, columns: Sequence[str] = ("anchor", "split")) -> Collection:
    """The documents with these columns of the first pair that each answers, and the `target`."""
    rows = [found.row_of.get(id_) for id_ in pairs.values(DOCUMENT)]
    sets, first, of_query = Sets(len(found)), {}, {}
    for place, (row, query) in enumerate(zip(rows, pairs.values(QUERY), strict=True)):
        if row is not None:
            first.setdefault(row, place)
            sets.unite(of_query.setdefault(query, row), row)
    places = pa.array([first.get(row) for row in range(len(found))], pa.int64())
    for column in columns:
        found = found.with_column(column, pairs[column].combine_chunks().take(places))
    targets = [sets.find(row) if row in first else None for row in range(len(found))]
    return with_about(found.with_column("target", pa.array(targets, pa.int64())), **about(pairs))
