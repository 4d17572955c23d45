"""Thumbnails of a collection's own pictures and recordings, and of nothing else that lies on the disk."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.columns import WINDOWS
from tellapart.data.regions import box_of
from tellapart.data.series import thumbnail as curves
from tellapart.server.limits import PICTURE_SIZES, PIXELS, THUMBNAIL_BYTES

MEDIA_TYPE = "image/webp"


class Pictures:
    """Thumbnails by id and size; the latest are kept in memory.

    Args:
        column: the column that holds the pictures or windows, as paths relative to the collection's root or as bytes.
    """

    def __init__(self, collection: Collection, column: str) -> None:
        self.collection = collection
        self.column = column
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def thumbnail(
        self, id_: str, size: int, given: Callable[[], bytes | None] | None = None, version: int = 0
    ) -> bytes:
        """A WebP of at most `size` pixels a side.

        Args:
            given: reads the bytes that the item was given since the collection was made, in place of its own.
            version: tells these bytes from others of the same item.

        Raises:
            DataError: a size that is not offered, an item without a picture, a path outside the collection's root, or
                a file that cannot be read as a picture.
        """
        if size not in PICTURE_SIZES:
            raise DataError(f"pictures come in the sizes {', '.join(map(str, PICTURE_SIZES))}, not {size}")
        with self._lock:
            if (kept := self._kept.get((id_, size, version))) is not None:
                self._kept.move_to_end((id_, size, version))
                return kept
        source = self.source(id_) if given is None else given()
        if source is None:
            raise DataError(f"the item {id_!r} has no picture any more")
        if self.column in WINDOWS:
            made = curves(source, size=size)
        else:
            box = box_of(self.collection, self.collection.row_of[id_]) if given is None else None
            made = _shrunk(source, size, box)
        with self._lock:
            self._bytes += len(made) - len(self._kept.pop((id_, size, version), b""))
            self._kept[id_, size, version] = made
            while self._bytes > THUMBNAIL_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return made

    def source(self, id_: str) -> bytes | Path:
        """What the picture is read from: its bytes, or a checked path inside the collection's root."""
        value: Any = self.collection[self.column][self.collection.row_of[id_]].as_py()
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if value is None:
            raise DataError(f"the item {id_!r} has no picture")
        return value if isinstance(value, bytes) else inside(self.collection.root, value)


def inside(root: Path | None, path: str) -> Path:
    """The path resolved under the root; one that leads out of it, by `..`, a link or a drive, is refused."""
    if root is None:
        raise DataError("the collection does not say where its pictures lie; read it again and save it anew")
    root = root.resolve()
    try:
        resolved = (root / path).resolve()
    except (OSError, ValueError):
        raise DataError("the path of this picture cannot be read") from None
    if not resolved.is_relative_to(root):
        raise DataError("the picture lies outside the collection's folder, so it is not shown")
    if not resolved.is_file():
        raise DataError("the picture is no longer where the collection says it is")
    return resolved


def _shrunk(source: bytes | Path, size: int, box: list[int] | None) -> bytes:
    from tellapart.data.images import thumbnail

    return thumbnail(source, size=size, quality=84, max_pixels=PIXELS, box=box)
