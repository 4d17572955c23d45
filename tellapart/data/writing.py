"""Items written to a file of the kind that its name says: JSON lines, CSV or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

KINDS = (".jsonl", ".csv", ".parquet")


def check_writable(out: str | Path | None) -> None:
    """Refuse a file that could not be written in the end, before any work is done; None is no file."""
    if out is not None and Path(out).suffix not in KINDS:
        raise DataError(f"--out is a file that ends in {', '.join(KINDS)}, not {out}")
    if out is not None and not Path(out).absolute().parent.is_dir():
        raise DataError(f"there is no folder {Path(out).parent} to write {Path(out).name} in")


def with_result(collection: Collection, name: str, values: Any) -> Collection:
    """The items with what was found of each as a further column, `name`; `name_` where they have one of that name."""
    while name in collection.columns:
        name += "_"
    return collection.with_column(name, values)


def write_items(collection: Collection, file: Path) -> Path:
    """The items as a file of the kind its name says, whole or not at all."""
    import json

    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    from tellapart.core.files import placed

    table = collection.table.replace_schema_metadata(None)
    if file.suffix != ".parquet":
        plain = [c for c in table.column_names if not _binary(table.schema.field(c).type)]
        if file.suffix == ".csv":
            plain = [c for c in plain if not pa.types.is_nested(table.schema.field(c).type)]
        table = table.select(plain)
    with placed(file) as sink:
        if file.suffix == ".parquet":
            pyarrow.parquet.write_table(table, sink)
        elif file.suffix == ".csv":
            pyarrow.csv.write_csv(table, sink)
        else:
            for batch in table.to_batches(max_chunksize=1024):
                for row in batch.to_pylist():
                    sink.write((json.dumps(row, ensure_ascii=False, default=str) + "\n").encode())
    return file


def _binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
