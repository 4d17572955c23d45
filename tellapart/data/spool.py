"""Rows kept by blocks: in memory while they are few, in a file that is memory-mapped when they are many."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import pyarrow as pa

from tellapart.core.errors import DataError
from tellapart.core.files import CACHE_VARIABLE, cache_home
from tellapart.data.limits import SPILL_BYTES, size_words


def cache_folder(cache: str | Path | None, name: str) -> Path:
    """A folder that can be written: `cache/name`, or that name where all caches are (`core.files.cache_home`)."""
    folder = (Path(cache) if cache else cache_home()) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be made ({error.strerror}); name one that can be written with cache= "
            f"or in the environment variable {CACHE_VARIABLE}"
        ) from None
    return folder


def write_words(error: OSError, folder: Path) -> DataError:
    """Why a file could not be written, and what to do."""
    reason = error.strerror or str(error).split(". Detail")[0]
    return DataError(
        f"cannot write to {folder}: {reason}. Free space there, or name another folder with cache= "
        f"or in the environment variable {CACHE_VARIABLE}; what was finished is kept"
    )


class Spool:
    """Takes Arrow tables of one schema, gives back one table.

    Args:
        cache: where a file may be written once the rows are larger than `limit`; None: the user's cache folder.
    """

    def __init__(self, cache: str | Path | None = None, limit: int = SPILL_BYTES) -> None:
        self.cache = cache
        self.limit = limit
        self.held: list[pa.Table] = []
        self.bytes = 0
        self.file: Path | None = None
        self.writer: pa.ipc.RecordBatchFileWriter | None = None

    def add(self, table: pa.Table) -> None:
        """Keep one block; every block has the schema of the first."""
        self.held.append(table)
        self.bytes += table.nbytes
        if self.bytes > self.limit or self.writer is not None:
            self._spill()

    def table(self) -> pa.Table | None:
        """All rows in order; None when no block was given. The file behind them goes when they do."""
        if self.writer is None or self.file is None:
            return pa.concat_tables(self.held) if self.held else None
        try:
            self.writer.close()
            with pa.memory_map(str(self.file)) as source:
                whole = pa.ipc.open_file(source).read_all()
        except OSError as error:
            raise self._full(error) from None
        self.file.unlink()
        return whole

    def close(self) -> None:
        """Give up what was written; nothing to do after `table`."""
        if self.file is not None and self.file.exists():
            if self.writer is not None:
                with contextlib.suppress(OSError):
                    self.writer.close()
            self.file.unlink()

    def _spill(self) -> None:
        try:
            if self.writer is None:
                folder = cache_folder(self.cache, "reading")
                handle, name = tempfile.mkstemp(prefix=".rows.", suffix=".arrow", dir=folder)
                os.close(handle)
                self.file = Path(name)
                self.writer = pa.ipc.new_file(str(self.file), self.held[0].schema)
            for table in self.held:
                self.writer.write_table(table)
        except OSError as error:
            raise self._full(error) from None
        self.held = []

    def _full(self, error: OSError) -> DataError:
        folder = self.file.parent if self.file is not None else Path(".")
        return DataError(f"{size_words(self.bytes)} of rows were read and do not fit: {write_words(error, folder)}")
