"""Whether a collection can be learnt from and measured at all, said before any long work is begun."""

from __future__ import annotations

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.provenance import about


def check_pairs(collection: Collection) -> None:
    """Something is searched with something, and not everything is equally right.

    Raises:
        DataError: no pairs and no labels; one label alone; every label on one item. It says what to give instead.
    """
    try:
        sides = collection.sides()
    except DataError as error:
        raise DataError(". ".join([str(error), *about(collection).get("notes", [])])) from None
    if not sides.same_space or sides.target is None:
        return
    codes, values = collection.codes(sides.target)
    counts = np.bincount(codes[codes >= 0], minlength=1)
    if len(values) < 2:
        said = f"all have the {sides.target} {values[0]!r}" if values else f"none has a {sides.target}"
        raise DataError(
            f"of {len(codes)} items {said}, so no item is a wrong answer to another, and there is nothing to learn or "
            f"to measure: give items of at least two, or captions to search with. Vectors need neither: tellapart embed"
        )
    if counts.max() < 2:
        raise DataError(
            f"each {sides.target} stands on one item only ({len(values)} for {len(codes)} items), so nothing is like "
            f"anything else: give several items of each {sides.target}, or captions to search with"
        )


def answerable(collection: Collection, part: str) -> bool:
    """Whether some item of a part of the split has something to find in it."""
    sides, parts = collection.sides(), np.asarray(collection.values("split"), dtype=object)
    if sides.target is None:
        return bool((parts == part).any())
    codes = collection.codes(sides.target)[0]
    inside = codes[(parts == part) & (codes >= 0)]
    return bool(np.bincount(inside, minlength=1).max() >= (2 if sides.same_space else 1))


def check_parts(collection: Collection) -> None:
    """Every query of training and of testing can find something.

    Raises:
        DataError: a part in which no item has an answer; it says what to give instead.
    """
    sides = collection.sides()
    for part in ("train", "test"):
        if not answerable(collection, part):
            holds = "no two items of" if sides.same_space else "no item with"
            raise DataError(
                f"the part {part} of the split holds {holds} one {sides.target or 'text'}, so nothing can be found "
                f"there: give more items, or another split"
            )
