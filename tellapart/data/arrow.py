"""Rows out of Arrow batches: what `datasets` and Parquet files hold, as plain values under their column names."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from tellapart.core.errors import DataError
from tellapart.data.columns import ALIASES, LISTS, WINDOWS, plain

ROWS = 4096
ROWS_WITH_BYTES = 64
NESTED_ROLES = {"image", "text", "alternatives", *LISTS, *WINDOWS}


def rows_a_batch(schema: pa.Schema) -> int:
    """Fewer rows at a time where they carry bytes."""
    return ROWS_WITH_BYTES if any(_holds_bytes(f.type) for f in schema) else ROWS


def rows(
    batch: pa.RecordBatch, classes: Mapping[str, list[str]], asked: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """The rows of a batch; columns of class numbers as the names that `classes` gives them.

    Args:
        asked: columns that a caller gave a role, which are kept whatever they hold.
    """
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        kept = _simple(name, column, asked=name in asked)
        if kept is not None:
            columns[name] = kept.to_pylist()
    for name, names in classes.items():
        if name in columns:
            columns[name] = [_class(v, names, name) for v in columns[name]]
    nested: dict[str, Any] = {n: {} for n in batch.schema.names if n not in columns}
    for row in range(len(batch)):
        yield {**{name: values[row] for name, values in columns.items()}, **nested}


def class_names(features: Any) -> dict[str, list[str]]:
    """Names of the classes of each `ClassLabel` column, from the features that `datasets` writes down."""
    found = {}
    if isinstance(features, dict):
        for column, feature in features.items():
            if (
                isinstance(feature, dict)
                and feature.get("_type") == "ClassLabel"
                and isinstance(feature.get("names"), list)
            ):
                found[column] = [str(n) for n in feature["names"]]
    return found


def features_of(schema: pa.Schema) -> Any:
    """The features that `datasets` leaves in the metadata of a schema; None when there are none."""
    raw = (schema.metadata or {}).get(b"huggingface")
    try:
        return json.loads(raw)["info"]["features"] if raw else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _holds_bytes(type_: pa.DataType) -> bool:
    if pt.is_struct(type_):
        return any(_holds_bytes(type_.field(i).type) for i in range(type_.num_fields))
    return (
        pt.is_binary(type_) or pt.is_large_binary(type_) or pt.is_fixed_size_binary(type_) or pt.is_binary_view(type_)
    )


def _simple(name: str, column: pa.Array, *, asked: bool = False) -> pa.Array | None:
    """A column whose values become plain ones; None for a nested one that no role could take."""
    type_ = column.type
    if isinstance(type_, pa.ExtensionType):
        column, type_ = column.storage, type_.storage_type
    if pt.is_dictionary(type_):
        column, type_ = column.dictionary_decode(), type_.value_type
    if pt.is_nested(type_) or _holds_bytes(type_):
        roles = {role for role, aliases in ALIASES.items() if plain(name) in (role, *aliases)}
        return column if asked or roles & NESTED_ROLES else None
    known = (
        pt.is_string,
        pt.is_large_string,
        pt.is_boolean,
        pt.is_integer,
        pt.is_floating,
        pt.is_null,
        pt.is_string_view,
    )
    if any(is_(type_) for is_ in known):
        return column
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _class(value: Any, names: list[str], column: str) -> str | None:
    if value is None or value == -1:
        return None
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise DataError(f"{column} holds {value!r}, and its classes are numbered 0 to {len(names) - 1}")
    return names[value]
