"""Items that lack one of the two sides of a collection of pairs, for the strategies that can learn from them.

For all others such a row is a problem of the collection, as it always was. They are a collection of their own: no row
of the pairs is without a partner, so that training, splits and figures stay what they are for pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from tellapart.core.collection import ID, Collection
from tellapart.core.progress import Progress
from tellapart.data.searched import DOCUMENT
from tellapart.data.sources import SHIPPED, read
from tellapart.data.tables import one_sided

IDENTITIES = ("group", "near")


def unpaired(
    source: str | Path,
    pairs: Collection,
    *,
    columns: Mapping[str, str] | None = None,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Collection | None:
    """The rows of a source that have one of the two sides of its pairs and lack the other; None where there are none.

    Rows that the data give to validation or test are left out, and so is everything where items are of one column or
    documents are kept apart (BEIR).

    Args:
        source, columns: as `read` was given them.
        pairs: what it gave.
    """
    sides = pairs.sides()
    shipped = str(source) in SHIPPED and not Path(source).exists()
    if sides.same_space or DOCUMENT in pairs.columns or shipped:
        return None
    with one_sided():
        found = read(source, cache=cache, progress=progress, columns=columns)
    names = (sides.query.column, sides.document.column)
    if not set(names) <= set(found.columns):
        return None
    query, document = (has(found, name) for name in names)
    parts = found.values("split") if "split" in found.columns else [None] * len(found)
    rows = np.flatnonzero((query != document) & np.isin([part or "train" for part in parts], ["train"]))
    return found.take(rows) if len(rows) else None


def has(collection: Collection, column: str) -> np.ndarray:
    """[n] bool: which items have something in a column."""
    there: np.ndarray = collection[column].is_valid().to_numpy()
    return there


def all_searched(pairs: Collection, alone: Collection) -> Collection | None:
    """All that is searched: the items of the pairs, then those of `alone` that have the document side; None without.

    They keep the columns that the pairs have, in the pairs' type, belong to no part of a split and are nobody's
    duplicates; an id that a pair has too is numbered, as in `x#2`.
    """
    alone = alone.take(np.flatnonzero(has(alone, pairs.sides().document.column)))
    if not len(alone):
        return None
    taken = set(pairs.ids)
    ids = []
    for name in alone.ids:
        number, new = 2, name
        while new in taken:
            number, new = number + 1, f"{name}#{number}"
        taken.add(new)
        ids.append(new)
    made = []
    for field in pairs.table.schema:
        more = pa.nulls(len(alone), field.type)
        if field.name == ID:
            more = pa.array(ids, field.type)
        elif field.name in IDENTITIES:
            first = int(pairs.numbers(field.name).max()) + 1
            more = pa.array(np.arange(first, first + len(alone)), field.type)
        elif field.name in alone.columns and field.name != "split":
            more = _cast(alone[field.name], field.type)
        made.append(pa.chunked_array([*pairs[field.name].chunks, *_chunks(more)], field.type))
    return Collection(pa.Table.from_arrays(made, schema=pairs.table.schema), problems=pairs.problems)


def _chunks(array: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return list(array.chunks) if isinstance(array, pa.ChunkedArray) else [array]


def _cast(array: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray | pa.Array:
    """A column in another type; nothing in it where its values are none of that type."""
    try:
        return array.cast(type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(array), type_)
