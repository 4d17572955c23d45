"""Items of several pictures: frames of a list, a folder or an animation, laid out in one picture with their boxes.

A row's `frames` become its `image`, a sheet of at most `MOST` frames, and its `regions`, the boxes of the frames in it,
so that a page shows all of them and whatever reads regions reads frames. The item's vector is the mean of those of its
frames (`engine/embed.py`).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, near
from tellapart.data.images import SUFFIXES, open_image, probe
from tellapart.data.limits import IMAGE_PIXELS, NAME_CHARS
from tellapart.data.paths import below, walk
from tellapart.data.problems import Problems

COLUMN, PART = "frames", "frames"
MOST, SIDE, QUALITY = 12, 256, 90
MOST_GIVEN = 100_000
THREADS = 4

Row = tuple[str, dict[str, Any]]


def framed(collection: Collection) -> bool:
    """Whether the pictures are sheets of frames, as `sheets` makes them."""
    return COLUMN in collection.columns and (collection.provenance(COLUMN) or {}).get("part") == PART


@dataclass
class Sheets:
    """Blocks of rows with their frames as `image`, `regions`, and `frames`, how many; rows whose frames cannot be read
    are problems, and rows without a column of frames go through as they are.

    Attributes:
        given: role -> source column, as a caller said it.
        column: what holds frames; "" where nothing does, None before the first block.
    """

    blocks: Iterable[list[Row]]
    root: Path
    given: Mapping[str, str]
    problems: Problems
    column: str | None = None

    def __iter__(self) -> Iterator[list[Row]]:
        with ThreadPoolExecutor(THREADS) as pool:
            for block in self.blocks:
                if self.column is None and block:
                    self.column = _column_of(block, self.given)
                yield list(self._laid(block, self.column, pool)) if self.column else block

    def _laid(self, block: list[Row], column: str, pool: ThreadPoolExecutor) -> Iterator[Row]:
        jobs = pool.map(lambda item: _row(item[1], column, self.root), block)
        for (place, row), found in zip(block, jobs, strict=True):
            if isinstance(found, DataError):
                held = row.get(column)
                name = row.get("id") or (held if isinstance(held, str) else "")
                self.problems.add(str(name)[:NAME_CHARS], place, str(found))
            else:
                yield place, found


def evenly(count: int, most: int = MOST) -> list[int]:
    """At most so many of `count` numbers, the middles of equal pieces."""
    taken = min(count, most)
    return [(2 * i + 1) * count // (2 * taken) for i in range(taken)]


def sheet(frames: Sequence[Image.Image]) -> tuple[bytes, list[list[int]]]:
    """(the bytes of one picture with all frames, row by row; the box of each). No frame is enlarged."""
    across = math.ceil(math.sqrt(len(frames)))
    whole = Image.new("RGB", (across * SIDE, math.ceil(len(frames) / across) * SIDE), "white")
    boxes = []
    for place, frame in enumerate(frames):
        small = frame.copy()
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        at = (place % across * SIDE, place // across * SIDE)
        whole.paste(small, at)
        boxes.append([*at, *small.size])
    out = io.BytesIO()
    whole.save(out, format="WEBP", quality=QUALITY)
    return out.getvalue(), boxes


def _column_of(block: list[Row], given: Mapping[str, str]) -> str:
    """The source column that holds frames; "" where there is none, or where items have a picture of their own.

    Raises:
        DataError: frames, and another picture or boxes beside them.
    """
    names = {name.strip().lower(): name for _, row in block for name in row}
    column = given.get(COLUMN, "")
    if not column:
        if COLUMN not in names or "image" in names or "image" in given:
            return ""
        held = [row.get(names[COLUMN]) for _, row in block]
        if not any(isinstance(v, list) or (isinstance(v, str) and not _number(v)) for v in held):
            return ""
        column = names[COLUMN]
    if column not in names.values():
        raise DataError(f"columns= names {column!r}, which is not there; {near(column, list(names.values()))}")
    if {"image", "regions"} & ({*names, *given} - {column}):
        raise DataError(
            f"the column {column!r} holds frames, and beside it stands `image` or `regions`: an item is one picture "
            "with regions, or several frames; leave one of them out"
        )
    return column


def _row(row: dict[str, Any], column: str, root: Path) -> dict[str, Any] | DataError:
    value = row.get(column)
    try:
        image, boxes = sheet(_read(value, column, root))
    except DataError as error:
        return error
    except OSError as error:
        return DataError(f"cannot be opened: {error.strerror or error}")
    made = {name: v for name, v in row.items() if name != column}
    if isinstance(value, str):
        made.setdefault("id", value.strip())
    return {**made, "image": image, "regions": boxes, COLUMN: len(boxes)}


def _read(value: Any, column: str, root: Path) -> list[Image.Image]:
    if isinstance(value, str) and value.strip():
        folder = root / value.strip().rstrip("/\\")
        if ".." not in Path(value).parts and folder.is_dir() and folder.resolve().is_relative_to(root.resolve()):
            value = [f.relative_to(root).as_posix() for f in walk(folder) if f.suffix.lower() in SUFFIXES]
            if not value:
                raise DataError(f"the folder {folder.name!r} holds no pictures")
        else:
            return _animation(root / below(root, value.strip()))
    if not isinstance(value, list) or not value:
        raise DataError(
            f"{column} holds no frames: give a list of pictures, the path of a folder of pictures, or of an animated "
            "GIF, WebP or PNG"
        )
    if len(value) > MOST_GIVEN:
        raise DataError(f"{column} names {len(value):,} pictures, and at most {MOST_GIVEN:,} are looked at")
    return [open_image(_source(value[at], column, root)) for at in evenly(len(value))]


def _source(value: Any, column: str, root: Path) -> bytes | Path:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{column} holds a frame that is neither a path nor the bytes of a picture")
    return root / below(root, value.strip())


def _animation(file: Path) -> list[Image.Image]:
    """Frames of an animation, one of a still picture."""
    said = probe(file)
    if said.frames < 2:
        return [open_image(file)]
    if said.width * said.height * min(said.frames, MOST_GIVEN) > 100 * IMAGE_PIXELS:
        raise DataError(f"too large: {said.frames:,} frames of {said.width} x {said.height} pixels")
    found = []
    try:
        with Image.open(file) as image:
            for at in evenly(said.frames):
                image.seek(at)
                one = io.BytesIO()
                image.convert("RGBA").save(one, format="PNG", compress_level=1)
                found.append(open_image(one.getvalue()))
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise DataError(f"damaged or cut short: {error}") from None
    return found


def _number(text: str) -> bool:
    return not text.strip() or text.strip().lstrip("+-").replace(".", "", 1).isdigit()
