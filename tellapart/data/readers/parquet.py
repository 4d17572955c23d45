"""Parquet: one file, or a folder of them read one after the other, by blocks."""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.progress import Progress
from tellapart.data.arrow import class_names, features_of, rows, rows_a_batch
from tellapart.data.limits import COLUMNS, ROW_GROUP_BYTES, size_words
from tellapart.data.problems import Problems
from tellapart.data.tables import Row, collect

ORDER = 50
SUFFIXES = (".parquet", ".pq")


def accepts(path: Path) -> bool:
    """A file named .parquet, or a folder with such files."""
    if path.is_dir():
        return not (path / "metadata.parquet").is_file() and bool(_files(path))
    return path.suffix.lower() in SUFFIXES and path.is_file()


def read(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """Parquet files; columns of pictures as `datasets` writes them (bytes and path) are understood."""
    files = _files(path) if path.is_dir() else [path]
    total = sum(_opened(f).metadata.num_rows for f in files)
    base = path if path.is_dir() else path.parent
    return collect(
        blocks(files, set((columns or {}).values())), source=path.name, root=root or base, columns=columns, cache=cache,
        progress=progress, total=total, problems=Problems(),
    )  # fmt: skip


def blocks(files: list[Path], asked: Names[str] = ()) -> Iterator[list[Row]]:
    """The rows by blocks, file after file.

    Args:
        asked: columns that a caller gave a role.
    """
    for path in files:
        file = _opened(path)
        schema = file.schema_arrow
        classes = class_names(features_of(schema))
        row = 0
        try:
            for batch in file.iter_batches(batch_size=rows_a_batch(schema)):
                yield [(f"{path.name}:{row + i}", made) for i, made in enumerate(rows(batch, classes, asked), 1)]
                row += len(batch)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path.name} is damaged after row {row}: {error}; write it again") from None


def names(path: Path) -> list[str]:
    """The columns of a file, read off its end."""
    found: list[str] = _opened(path).schema_arrow.names
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(
        p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file() and not p.name.startswith(".")
    )


def _opened(path: Path):  # noqa: ANN202 - pyarrow.parquet is imported when first used
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name} is not a Parquet file that can be read: {error}") from None
    if len(file.schema_arrow) > COLUMNS:
        raise DataError(f"{path.name} has {len(file.schema_arrow):,} columns, and at most {COLUMNS:,} are read")
    for group in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(group).total_byte_size
        if size > ROW_GROUP_BYTES:
            raise DataError(
                f"{path.name} has a row group of {size_words(size)}, and at most {size_words(ROW_GROUP_BYTES)} are "
                f"read; write it again with a smaller row_group_size"
            )
    return file
