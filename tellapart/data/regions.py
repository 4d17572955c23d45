"""Regions: boxes in pictures, read and checked; a grid where a picture has none; each region as an item of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.images import image_source, probe
from tellapart.data.limits import NAME_CHARS
from tellapart.data.provenance import with_about

COLUMN, BOX, OF, REGION = "regions", "box", "of", "region"
BOX_TYPE = pa.list_(pa.int32(), 4)
REGION_TYPE = pa.list_(pa.struct([(name, pa.float64()) for name in ("x", "y", "width", "height")]
                                 + [("name", pa.string())]))  # fmt: skip
SIDES = ("x", "y", "width", "height")
SHORT = ("x", "y", "w", "h")
NAMES = ("name", "category", "categories", "label", "labels", "names", "class")
MOST = 256
SLACK = 1.0
GRID = 3
KEPT = ("split", "group", "near", "concept", "label")

Region = dict[str, Any]


def boxes(value: Any, column: str = COLUMN) -> list[Region]:
    """The regions of one cell: dicts of `x`, `y`, `width`, `height` (pixels, from the upper left corner) and `name`.

    Understood are a list of [x, y, width, height]; a list of records with these four, or with `bbox`, and a name; and
    a record of lists, `bbox` and `categories`, as `datasets` stores objects. Nothing is compared with the picture yet.

    Raises:
        DataError: anything else.
    """
    if value is None:
        return []
    if isinstance(value, dict):
        value = _listed(value, column)
    if not isinstance(value, list | tuple):
        raise DataError(f"{column} is no list of boxes: write [[x, y, width, height], …] or records with these names")
    return [_box(one, column) for one in value]


def _listed(value: dict[str, Any], column: str) -> list[Any]:
    """`{"bbox": [[…], …], "categories": […]}` as a list of records."""
    found = value.get("bbox", value.get("boxes"))
    if not isinstance(found, list):
        raise DataError(f"{column} is a record without a list `bbox`: write [[x, y, width, height], …]")
    names = next((value[n] for n in NAMES if isinstance(value.get(n), list)), None)
    if names is not None and len(names) != len(found):
        raise DataError(f"{column} has {len(found)} boxes and {len(names)} names for them")
    return [{"bbox": box, "name": name} for box, name in zip(found, names or [None] * len(found), strict=True)]


def _box(value: Any, column: str) -> Region:
    name = None
    if isinstance(value, dict):
        name = next((value[n] for n in NAMES if value.get(n) is not None), None)
        sides = next((names for names in (SIDES, SHORT) if all(n in value for n in names)), None)
        value = [value[n] for n in sides] if sides else value.get("bbox")
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise DataError(f"{column} holds a box that is not four numbers (x, y, width, height)")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
        raise DataError(f"{column} holds a box with something that is no number: {str(list(value))[:60]}")
    if name is not None and (not isinstance(name, str | int) or isinstance(name, bool)):
        raise DataError(f"{column} holds a box whose name is no text")
    text = str(name).strip() if name is not None else ""
    if len(text) > NAME_CHARS:
        raise DataError(f"{column} holds a box whose name has {len(text):,} characters")
    return {**dict(zip(SIDES, map(float, value), strict=True)), "name": text or None}


def fitted(regions: Sequence[Region], width: int, height: int) -> tuple[list[Region], list[str]]:
    """(the boxes that lie in a picture of this size, why others do not).

    A box that reaches out by less than `SLACK` pixels, as rounding leaves it, is cut to the picture.
    """
    kept, wrong = [], []
    for region in regions[:MOST]:
        x, y, w, h = (region[side] for side in SIDES)
        said = f"[{x:g}, {y:g}, {w:g}, {h:g}] in a picture of {width} x {height}"
        if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
            wrong.append(f"a box without area: {said}")
            continue
        if min(x, y) < -SLACK or x + w > width + SLACK or y + h > height + SLACK:
            wrong.append(f"a box that reaches outside its picture: {said}")
            continue
        left, top = max(x, 0.0), max(y, 0.0)
        w, h = min(x + w, width) - left, min(y + h, height) - top
        if w <= 0 or h <= 0:
            wrong.append(f"a box without area: {said}")
            continue
        kept.append({"x": left, "y": top, "width": w, "height": h, "name": region["name"]})
    if len(regions) > MOST:
        wrong.append(f"too many boxes: {len(regions)} in one picture, and the first {MOST} are read")
    return kept, wrong


def grid(width: int, height: int, side: int = GRID) -> list[Region]:
    """`side` x `side` cells that cover a picture, row by row; fewer where it has fewer pixels."""
    across, down = min(side, width), min(side, height)
    xs, ys = [width * i // across for i in range(across + 1)], [height * i // down for i in range(down + 1)]
    return [
        {"x": float(a), "y": float(b), "width": float(c - a), "height": float(d - b), "name": None}
        for b, d in itertools.pairwise(ys)
        for a, c in itertools.pairwise(xs)
    ]


def gridded(collection: Collection, *, side: int = GRID) -> Collection:
    """The collection with regions for every picture: its own, and the cells of a grid where it has none.

    Args:
        side: cells in a row and in a column of the grid.

    Raises:
        DataError: no pictures, a grid of fewer than 1 or more than 16 cells a side, a picture that cannot be read.
    """
    if "image" not in collection.columns:
        raise DataError(
            f"regions are parts of pictures, and there is no column `image`: {', '.join(collection.columns)}"
        )
    if not 1 <= side <= 16:
        raise DataError(f"a grid has between 1 and 16 cells a side, not {side}")
    given = collection.values(COLUMN) if COLUMN in collection.columns else [None] * len(collection)
    if all(given):
        return collection
    made, images = [], collection["image"]
    for row, held in enumerate(given):
        if held:
            made.append(held)
            continue
        try:
            header = probe(image_source(images[row].as_py(), collection.root))
        except DataError as error:
            raise DataError(f"item {collection.ids[row]!r}: {error}") from None
        made.append(grid(*header.upright, side))
    by = {"part": "grid", "side": side}
    count = sum(not held for held in given)
    found = collection.with_column(COLUMN, pa.array(made, REGION_TYPE), by=by)
    return with_about(
        found, notes=[f"{count} pictures have no regions of their own: {side} x {side} cells stand for them"]
    )


def crops(collection: Collection, *, side: int = GRID) -> Collection:
    """Every region as an item: `id` (`ITEM#region0`), `image` of the whole picture, `box` (whole pixels).

    An item with a `box` is that part of its picture, wherever items are encoded. `of` is the item that it is a region
    of and `region` its number there; split, groups, concept and label are that item's, so that no picture lies on two
    sides of a split. `text` is the name of the region, where any region has one.

    Args:
        side: of the grid, for pictures without regions.
    """
    collection = gridded(collection, side=side)
    rows, boxes_, numbers, names = [], [], [], []
    for row, regions in enumerate(collection.values(COLUMN)):
        for number, region in enumerate(regions):
            rows.append(row)
            numbers.append(number)
            boxes_.append(_pixels(region))
            names.append(region["name"])
    made: dict[str, Any] = {
        "id": [f"{collection.ids[row]}#region{number}" for row, number in zip(rows, numbers, strict=True)],
        "image": collection["image"].take(pa.array(rows, pa.int64())),
        BOX: pa.array(boxes_, BOX_TYPE),
        OF: collection.ids[rows].tolist(),
        REGION: numbers,
    }
    made |= {name: collection[name].take(pa.array(rows, pa.int64())) for name in KEPT if name in collection.columns}
    if any(names):
        made["text"] = pa.array(names, pa.string())
    return Collection.of(made, root=collection.root)


def has_boxes(collection: Collection) -> bool:
    """Whether the items are regions of their pictures, as `crops` makes them."""
    return BOX in collection.columns and collection[BOX].type == BOX_TYPE


def box_of(collection: Collection, row: int) -> list[int] | None:
    """The part of its picture that an item is; None where items are whole pictures."""
    if not has_boxes(collection):
        return None
    box: list[int] = collection[BOX][row].as_py()
    return box


def counts(collection: Collection) -> np.ndarray:
    """[n] how many regions each item has; the collection is `gridded`."""
    return np.asarray([len(regions) for regions in collection.values(COLUMN)], dtype=np.int64)


def _pixels(region: Region) -> list[int]:
    """Whole pixels that a box covers: at least one each way."""
    x, y = math.floor(region["x"]), math.floor(region["y"])
    return [x, y, max(1, math.ceil(region["x"] + region["width"]) - x),
            max(1, math.ceil(region["y"] + region["height"]) - y)]  # fmt: skip
