"""Items with two pictures as two items each: what audits of the trait `before-after` are given of such a collection."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tellapart.core.collection import ID, Collection
from tellapart.data.groups import Sets

BEFORE, AFTER = "other_image", "image"
NAMED = "{} (before)"


def two_items(collection: Collection, column: str) -> Collection | None:
    """For each item with both pictures two items, the one of `other_image` before that of `image`.

    Those of `image` keep their ids; the others are named after them. Two have one value in `column`, and a `group` with
    all that shares a picture or a duplicate of one with them. Items that lack one of the pictures are left out.

    Returns:
        None where the collection has that column of its own, or no two columns of pictures.
    """
    if column in collection.columns or not {BEFORE, AFTER} <= set(collection.columns):
        return None
    both = np.flatnonzero(~np.asarray(collection[BEFORE].is_null()) & ~np.asarray(collection[AFTER].is_null()))
    held = collection.take(both)
    ids = held.values(ID)
    cells = [cell for pair in zip(held.values(BEFORE), held.values(AFTER), strict=True) for cell in pair]
    group = _together(held)
    return Collection.of(
        {
            ID: pa.array([name for id_ in ids for name in (NAMED.format(id_), id_)], pa.string()),
            AFTER: pa.array(cells, held.table.schema.field(AFTER).type),
            column: pa.array([id_ for id_ in ids for _ in range(2)], pa.string()),
            "group": pa.array(np.repeat(group, 2)),
        },
        root=collection.root,
    )


def beside(collection: Collection, two: Collection) -> Collection:
    """The collection with the items of `two` that it has not, so that a page can show these."""
    new = np.flatnonzero([id_ not in collection.row_of for id_ in two.ids])
    added = two.take(new).table.select([ID, AFTER]).cast(collection.table.select([ID, AFTER]).schema)
    return Collection(pa.concat_tables([collection.table, added], promote_options="default"), root=collection.root)


def _together(held: Collection) -> np.ndarray:
    """[n] one number for what shares a picture."""
    sets = Sets(len(held))
    for codes in (held.codes(BEFORE)[0], held.codes("group" if "group" in held.columns else AFTER)[0]):
        first: dict[int, int] = {}
        for row, code in enumerate(codes.tolist()):
            sets.unite(first.setdefault(code, row), row)
    return sets.numbers()
