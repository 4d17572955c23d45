"""A split that came with the data: kept as it is, with the parts that it lacks made out of those that it has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.provenance import with_about
from tellapart.data.splits import NAMES, leaks, split

TOGETHER = ("near", "group")


def completed(
    collection: Collection, *, seed: int, shares: Sequence[float] = (0.7, 0.1, 0.2), by: str | None = None
) -> Collection:
    """The collection with a whole split: the given one as far as there is one, notes on all that was added to it.

    - No split, or none that names a part: `split` makes one. A whole one that `split` made is kept.
    - An item in no part joins the part of its duplicates (a held-out one before train), otherwise train.
    - A part that is missing is made by duplicate group out of train; where there is no train, out of the part there is.

    Nothing else moves: near duplicates on both sides of the given split stay where they are and are counted in a note.

    Args:
        seed, shares, by: as in `split`; `by` counts where there is no split yet.

    Raises:
        DataError: a part name that is none, or too few items to make the missing part of.
    """
    if "split" not in collection.columns or collection["split"].null_count == len(collection):
        return split(collection, seed=seed, shares=shares, by=by)
    sides = np.asarray(collection.values("split"), dtype=object)
    if collection.provenance("split") is not None and {*NAMES} == {*sides}:
        return collection
    odd = sorted({str(s) for s in sides if s is not None} - set(NAMES))
    if odd:
        raise DataError(f"the column 'split' holds {odd[0]!r}; write train, validation or test")
    before = {name: int((sides == name).sum()) for name in NAMES}
    sides, notes = _joined(collection, sides)
    sides, made = _made(collection, sides, seed, shares)
    after = {name: int((sides == name).sum()) for name in NAMES}
    told = ", ".join(f"{count} {name}" for name, count in before.items() if count)
    notes = [f"the split that came with the data was used: {told}", *notes, *made]
    by = {"part": "split", "given": before, "counts": after, "seed": seed}
    found = collection.with_column("split", pa.array(sides, pa.string()), by=by)
    return with_about(found, notes=[*notes, *_leaked(found)])


def _joined(collection: Collection, sides: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Items in no part, put where their duplicates are; a held-out part first, so that nothing leaks into train."""
    free = np.flatnonzero([s is None for s in sides])
    if not len(free):
        return sides, []
    sides = sides.copy()
    own: dict[tuple[str, int], str] = {}
    codes = {column: collection.codes(column)[0] for column in TOGETHER if column in collection.columns}
    for name in NAMES:
        for row in np.flatnonzero(sides == name):
            own.update({(column, int(code[row])): name for column, code in codes.items() if code[row] >= 0})
    placed = []
    for row in free:
        found = [own[key] for column, code in codes.items() if (key := (column, int(code[row]))) in own]
        placed.append(found[0] if found else NAMES[0])
    sides[free] = placed
    beside = sum(name != NAMES[0] for name in placed)
    words = f"{len(free)} items named no part of the split: they were put into train"
    return sides, [words + (f", {beside} of them beside their duplicates in a held-out part" if beside else "")]


def _made(
    collection: Collection, sides: np.ndarray, seed: int, shares: Sequence[float]
) -> tuple[np.ndarray, list[str]]:
    """Missing parts out of the first part that there is, by duplicate group; out of what has no duplicate elsewhere."""
    missing = [name for name in NAMES if not (sides == name).any()]
    if not missing:
        return sides, []
    donor = next(name for name in NAMES if name not in missing)
    here = sides == donor
    for column in TOGETHER:
        if column in collection.columns:
            codes = collection.codes(column)[0]
            here &= ~np.isin(codes, codes[sides != donor])
    rows = np.flatnonzero(here)
    wanted = np.asarray([s if name in (donor, *missing) else 0 for name, s in zip(NAMES, shares, strict=True)])
    if wanted[0] == 0:
        raise DataError(f"there is no train in the split, and shares={tuple(shares)} make none")
    try:
        parted = split(collection.take(rows), seed=seed, shares=tuple(wanted / wanted.sum()))
    except DataError as error:
        raise DataError(f"the split that came with the data has no {' and no '.join(missing)}: {error}") from None
    sides = sides.copy()
    sides[rows] = parted.values("split")
    moved = [f"{int((sides[rows] == name).sum())} for {name}" for name in missing if (sides == name).any()]
    words = f"it has no {' and no '.join(missing)}, so items of {donor} were taken, by duplicate group"
    return sides, [f"{words}: {', '.join(moved)}"] if moved else []


def _leaked(collection: Collection) -> list[str]:
    found = leaks(collection)
    if not len(found):
        return []
    held = ", ".join(f"{a} like {b}" for a, b in zip(*(found.pairs[c].to_pylist()[:2] for c in "ab"), strict=True))
    return [
        f"leakage: {len(found)} of {found.of} held-out items have a near duplicate in train ({held}); the given split "
        f"was not changed"
    ]
