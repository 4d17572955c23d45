"""A folder of tables named by the split: train.csv beside test.csv, data/train-00000-of-00002.parquet, dev/a.jsonl."""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Iterator, Mapping
from pathlib import Path

from tellapart.core.collection import Collection
from tellapart.core.progress import Progress
from tellapart.data.columns import split_of
from tellapart.data.images import SUFFIXES as PICTURES
from tellapart.data.problems import Problems
from tellapart.data.readers import delimited, jsonl, parquet
from tellapart.data.tables import Row, collect

ORDER = 45
SUFFIXES = (*delimited.SUFFIXES, *jsonl.SUFFIXES, *parquet.SUFFIXES)
INSIDE = "data"


def accepts(path: Path) -> bool:
    """A folder that holds a table whose name, or whose folder's name, is that of a part of a split."""
    return path.is_dir() and bool(tables_of(path))


def read(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """The rows of all these tables; `split` is what their names say, unless they have a column of that name."""
    problems = Problems()
    tables = tables_of(path)
    typed = not any(table.name.lower().endswith(delimited.SUFFIXES) for table, _ in tables)
    return collect(
        _blocks(tables, problems, set((columns or {}).values())), source=path.name, root=root or path,
        columns=columns, typed=typed, cache=cache, progress=progress, problems=problems,
    )  # fmt: skip


def rows_of(table: Path, problems: Problems, asked: Names[str] = ()) -> Iterator[list[Row]]:
    """The rows of one table of any of these formats, by blocks.

    Args:
        asked: columns that a caller gave a role.
    """
    name = table.name.lower()
    if name.endswith(parquet.SUFFIXES):
        return parquet.blocks([table], asked)
    return jsonl.either(table, problems) if name.endswith(jsonl.SUFFIXES) else delimited.blocks(table, problems)


def _blocks(tables: list[tuple[Path, str]], problems: Problems, asked: Names[str]) -> Iterator[list[Row]]:
    for table, split in tables:
        for block in rows_of(table, problems, asked):
            for _, row in block:
                row.setdefault("split", split)
            yield block


def tables_of(folder: Path) -> list[tuple[Path, str]]:
    """(table, part of the split), train first: its columns are those of the collection.

    In a folder with pictures a file of JSON is the caption of one, and no table.
    """
    found = []
    for inside in (folder, folder / INSIDE):
        for entry in _entries(inside):
            split = split_of(entry.name.split(".", 1)[0])
            files = _entries(entry) if split and entry.is_dir() else [entry] if split else []
            if any(file.suffix.lower() in PICTURES for file in files):
                continue
            found += [(file, split) for file in files if _is_table(file)]
        if found:
            break
    return sorted(found, key=lambda table: (table[1] != "train", table))


def _entries(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


def _is_table(file: Path) -> bool:
    name = file.name.lower()
    return name.endswith(SUFFIXES) and not name.startswith("metadata.") and file.is_file()
