"""A collection that tellapart saved: memory-mapped, nothing is checked again; decisions beside it are honoured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tellapart.core.collection import FILE, Collection
from tellapart.core.errors import DataError
from tellapart.core.progress import Progress
from tellapart.data.decisions import as_decided

ORDER = 0


def accepts(path: Path) -> bool:
    """A folder with collection.arrow."""
    return path.is_dir() and (path / FILE).is_file()


def read(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """The collection as it was saved, less what was decided against; `root` may say where its pictures lie now."""
    if columns:
        raise DataError("a saved collection has its columns already; columns= is for tables")
    try:
        found = Collection.open(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path / FILE} is damaged or no collection: {error}") from None
    found = Collection(found.table, root=root, problems=found.problems) if root is not None else found
    return as_decided(found, path)
