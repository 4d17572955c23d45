"""Further columns of items beside the two sides, for strategies of the trait `sides`: embedded and trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection, Side
from tellapart.core.errors import DataError
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.core.progress import Stages
from tellapart.data.composed import composed
from tellapart.engine.compatible import encoder_of
from tellapart.engine.composed import composes, told
from tellapart.engine.embed import embed, items_of
from tellapart.engine.inputs import Features, Inputs, TrainData
from tellapart.recipe import Recipe

FEWEST = 2


def learns_from_sides(recipe: Recipe, collection: Collection) -> bool:
    """Whether the recipe's strategy is given further columns beside the two sides."""
    return "sides" in card_of("strategy", parse_spec(recipe.strategy)[0]).traits or composes(recipe, collection)


def present(collection: Collection, column: str) -> np.ndarray:
    """[n] bool: which items have something in a column.

    Raises:
        DataError: fewer than two of them do.
    """
    has: np.ndarray = collection[column].is_valid().to_numpy()
    if int(has.sum()) < FEWEST:
        raise DataError(f"only {int(has.sum())} of {len(has)} items have anything in {column!r}: leave the column out")
    return has


def of_column(
    collection: Collection, column: str, encode: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """Rows -> their vectors of a further column, NaN where an item has nothing there.

    Args:
        encode: rows that have something -> [n, d] vectors.
    """
    there = present(collection, column)

    def encoded(rows: np.ndarray) -> np.ndarray:
        z = encode(rows[there[rows]])
        found = np.full((len(rows), z.shape[1]), np.nan, np.float32)
        found[there[rows]] = z
        return found

    return encoded


def filled(collection: Collection, column: str) -> Collection:
    """The collection with another item's value where one has none in a column; `present` tells which to look at."""
    has = present(collection, column)
    rows = np.where(has, np.arange(len(has)), np.flatnonzero(has)[0])
    return collection.with_column(column, collection[column].take(pa.array(rows)))


def other_features(
    collection: Collection, recipe: Recipe, *, cache: Path, stages: Stages, encoders: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """Frozen vectors of the further columns by name, [n, width], NaN where an item has none."""
    found = {}
    for side in collection.others():
        has, spec = present(collection, side.column), encoder_of(side, recipe)
        encoder = encoders[side.modality] if encoders else make("encode", spec)
        with stages.stage(f"embed {side.column} with {parse_spec(spec)[0]}") as progress:
            x = embed(filled(collection, side.column), side.column, encoder, cache=cache, progress=progress)
        found[side.column] = x if has.all() else np.where(has[:, None], x, np.float32(np.nan))
    return found


def with_others(
    data: TrainData, collection: Collection, vectors: dict[str, np.ndarray], opened: Mapping[str, Inputs]
) -> TrainData:
    """Training data with the further columns, and `extra["same"]`.

    That is [n, sides] int64, one column for each of `TrainData.sides`: items of equal number hold the same thing there,
    -1 is nothing. For the column that duplicates were looked for in, the same thing is the duplicate group.

    Args:
        opened: the columns' items, where an encoder is tuned; otherwise frozen vectors are trained on, the mean of the
            others where there is none.
    """
    others: dict[str, Inputs] = {}
    for side in collection.others():
        if side.column in opened:
            others[side.column] = opened[side.column]
            continue
        x = np.asarray(vectors[side.column])
        has = present(collection, side.column)
        others[side.column] = Features(np.where(has[:, None], x, x[has].mean(0)))
    data = replace(data, others=others)
    same = [same_content(collection, side) for side in named(collection).values()]
    data = replace(data, extra={**data.extra, "same": np.stack(same, 1)})
    return replace(data, extra={**data.extra, **told(collection)}) if composed(collection) else data


def named(collection: Collection) -> dict[str, Side]:
    """All columns with a tower, by its name: `query`, `document` where it is another column, and the further ones."""
    sides = collection.sides()
    both = {"query": sides.query} if sides.same_space else {"query": sides.query, "document": sides.document}
    return both | {side.column: side for side in collection.others()}


def same_content(collection: Collection, side: Side) -> np.ndarray:
    """[n] int64, equal where two items hold the same thing in a column; -1 where there is nothing."""
    has = present(collection, side.column)
    codes = np.full(len(has), -1, dtype=np.int64)
    if side.column == _curated(collection) and "group" in collection.columns:
        codes[has] = collection.numbers("group")[has]
        return codes
    items, seen = items_of(collection, side.column, side.modality), dict[tuple[int, int], int]()
    for row in np.flatnonzero(has):
        codes[row] = seen.setdefault(items.key(int(row)), len(seen))
    return codes


def _curated(collection: Collection) -> str | None:
    """The column that duplicates are looked for in (`data.identity.curate`)."""
    order = ("image", "other_series", "series", "positive", "text")
    return next((column for column in order if column in collection.columns), None)
