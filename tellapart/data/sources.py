"""Reading a collection from whatever it is kept in."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, near
from tellapart.core.progress import Progress
from tellapart.data import readers
from tellapart.data.tenths import with_tenths

SHIPPED = (
    "openmoji", "openmoji-changes", "digits", "fashion", "wordnet", "wordnet-relations", "wordnet-graph", "docstrings",
    "basic-motions",
)  # fmt: skip


def read(
    source: str | Path,
    *,
    cache: str | Path | None = None,
    progress: Progress | None = None,
    columns: Mapping[str, str] | None = None,
    root: str | Path | None = None,
) -> Collection:
    """A collection from a folder, a file, a pattern of shards, or the name of a shipped one.

    What cannot be taken in is a row of `problems` (id, place, reason), and the rest is read. Items of one column that
    have a `score` and no label are labelled by its tenths.

    Args:
        source: a folder of pictures, CSV, TSV, JSONL, Parquet, a saved Hugging Face data set, a BEIR folder, tar shards
            (also `shards/{0000..0003}.tar`), a graph (.graphml, .gexf, .gml, tables of nodes and edges, triples),
            recordings (.ts, or a table that names .npy files), a saved collection, or `openmoji` and the other names in
            `SHIPPED`.
        cache: a folder for rendered pictures and for rows that do not fit in memory.
        progress: called with (done, total); where the total is not known, it is what is done so far.
        columns: role -> column, where names do not say it, as in `{"text": "comment"}`.
        root: the folder that paths of pictures are relative to (default: where the table lies).

    Raises:
        DataError: nothing there, a format that is not read, columns that cannot be understood, or nothing left.
    """
    path = Path(source).expanduser()
    cache = Path(cache) if cache is not None else None
    if str(source) in SHIPPED and not path.exists():
        if columns or root:
            raise DataError(f"{source} is a shipped collection; columns= and root= are for one of your own")
        from tellapart.data import shipped

        return shipped.load(str(source), cache=cache, progress=progress)
    base = Path(root).expanduser() if root is not None else None
    if base is not None and not base.is_dir():
        raise DataError(f"root= names {base}, which is not a folder")
    try:
        reader = next((r for r in _readers() if r.accepts(path)), None)
        if reader is not None:
            made: Collection = reader.read(path, columns=columns, root=base, cache=cache, progress=progress)
            return with_tenths(made)
    except PermissionError as error:
        raise DataError(f"{error.filename or path} may not be read: {error.strerror}") from None
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()][:1000] if path.parent.is_dir() else []
        raise DataError(f"there is no {str(source)!r}; {near(path.name, [*beside, *SHIPPED])}")
    raise DataError(
        f"{path.name} is of no format that is read. Give a folder of pictures, .csv, .tsv, .jsonl, .json, .parquet, "
        f".tar, .ts, .graphml, .gexf, .gml, a data set saved with save_to_disk(), a BEIR folder, or one of "
        f"{', '.join(SHIPPED)}"
    )


def documents(
    source: str | Path, *, cache: str | Path | None = None, progress: Progress | None = None
) -> Collection | None:
    """All documents that are searched, in a format that keeps them apart from the pairs (BEIR); None in any other.

    The ids are those in the column `document_id` of the pairs, and the texts stand in the column `positive` as there.
    """
    path = Path(source).expanduser()
    if not path.exists():
        return None
    reader = next((r for r in _readers() if r.accepts(path)), None)
    if not hasattr(reader, "documents"):
        return None
    made: Collection = reader.documents(path, cache=Path(cache) if cache is not None else None, progress=progress)
    return made


@functools.cache
def _readers() -> tuple[ModuleType, ...]:
    names = [m.name for m in pkgutil.iter_modules(readers.__path__)]
    found = [importlib.import_module(f"{readers.__name__}.{name}") for name in names]
    return tuple(sorted(found, key=lambda m: (m.ORDER, m.__name__)))
