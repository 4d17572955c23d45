"""Filters on columns: which columns can be filtered by what, and which items a filter lets through."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, near
from tellapart.server.answers import Column
from tellapart.server.limits import CHOICES, FILTERS, VALUES_A_FILTER

HIDDEN = (
    "id", "image", "series", "other_series", "text", "anchor", "positive", "negative", "hash", "group", "near", "link"
)  # fmt: skip
FEW_NUMBERS = 24


def filterable(collection: Collection) -> list[Column]:
    """The columns that a person would filter by, in the order of the collection."""
    return [c for name in collection.columns if name not in HIDDEN and (c := _column(collection, name)) is not None]


def _column(collection: Collection, name: str) -> Column | None:
    array = _plain(collection, name)
    kind = _kind(array.type)
    if kind == "none" or len(array) == array.null_count:
        return None
    distinct = pc.count_distinct(array).as_py()
    if kind == "number" and distinct > FEW_NUMBERS:
        bounds = pc.min_max(array.filter(pc.is_finite(array)) if pa.types.is_floating(array.type) else array).as_py()
        if bounds["min"] is None:
            return None
        return Column(name, "number", low=float(bounds["min"]), high=float(bounds["max"]))
    if distinct > CHOICES:
        return Column(name, "other")
    if distinct < 2:
        return None
    counts = [(c["values"], c["counts"]) for c in pc.value_counts(array).to_pylist()]
    counts = [(v, n) for v, n in counts if v is not None and not (isinstance(v, float) and math.isnan(v))]
    return Column(name, "choice", tuple(sorted(counts, key=lambda pair: (-pair[1], str(pair[0])))))


def _plain(collection: Collection, name: str) -> pa.ChunkedArray:
    array = collection[name]
    return pc.cast(array, array.type.value_type) if pa.types.is_dictionary(array.type) else array


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "flag"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else "none"


def parse(conditions: Sequence[str], collection: Collection) -> dict[str, Any]:
    """`["label=cat", "label=dog", "year=1990..2000"]` as the mapping that `mask` takes.

    Repeating a column means one of its values; `low..high` on a column of numbers is a range, open where a side is
    left out.
    """
    where: dict[str, Any] = {}
    for condition in conditions:
        name, sign, value = condition.partition("=")
        name = name.strip()
        if not sign or not name:
            raise DataError(f"write a filter as column=value or column=low..high, not {condition!r}")
        if ".." in value and _kind(_known(collection, name).type) == "number":
            low, _, high = value.partition("..")
            given: Any = {k: v for k, v in (("from", low.strip()), ("to", high.strip())) if v}
            if name in where:
                raise DataError(f"give one range for {name!r}, not several")
            where[name] = given
        elif isinstance(where.get(name), dict):
            raise DataError(f"give {name!r} either a range or values, not both")
        else:
            where.setdefault(name, []).append(value)
    return where


def mask(collection: Collection, where: Mapping[str, Any]) -> np.ndarray | None:
    """[n] bool, which items pass all conditions; None when there are none.

    Args:
        where: by column, a value, a list of values of which one must hold, or `{"from": low, "to": high}` with bounds
            that are included and may be left out. A missing value passes no condition.

    Raises:
        DataError: an unknown column, one that cannot be filtered, a value of another type, too many.
    """
    if not where:
        return None
    if len(where) > FILTERS:
        raise DataError(f"at most {FILTERS} columns can be filtered at once, and {len(where)} are given")
    passing = np.ones(len(collection), bool)
    for name, condition in where.items():
        array = _known(collection, name)
        kind = _kind(array.type)
        if kind == "none":
            raise DataError(f"the column {name!r} holds {array.type}, which cannot be filtered")
        test = _range(name, kind, array, condition) if isinstance(condition, Mapping) else None
        if test is None:
            values = condition if isinstance(condition, list | tuple) else [condition]
            if not 0 < len(values) <= VALUES_A_FILTER:
                raise DataError(f"{name!r} takes 1 to {VALUES_A_FILTER} values, and {len(values)} are given")
            test = pc.is_in(array, value_set=_cast(name, kind, array.type, values))
        passing &= pc.fill_null(test, False).to_numpy(zero_copy_only=False)
    return passing


def _known(collection: Collection, name: str) -> pa.ChunkedArray:
    if name not in collection.columns:
        raise DataError(f"there is no column {name!r} to filter by; {near(name, collection.columns)}")
    return _plain(collection, name)


def _cast(name: str, kind: str, type_: pa.DataType, values: Sequence[Any]) -> pa.Array:
    read = {"flag": _flag, "number": _number, "text": _text}[kind]
    typed = [read(name, v) for v in values]
    if kind == "number" and pa.types.is_integer(type_):
        # a float holds no more than 53 bits of an id
        typed = [_whole(v, n) for v, n in zip(values, typed, strict=True) if n.is_integer()]
    try:
        return pa.array(typed, type=type_)
    except (pa.ArrowInvalid, OverflowError):
        raise DataError(f"{name!r} holds {type_}, and {values[0]!r} is out of its range") from None


def _range(name: str, kind: str, array: pa.ChunkedArray, condition: Mapping[str, Any]) -> Any:
    unknown = sorted(set(condition) - {"from", "to"})
    if unknown:
        raise DataError(f"a range on {name!r} has 'from' and 'to', not {unknown[0]!r}")
    if kind != "number":
        raise DataError(f"the column {name!r} holds no numbers, so it has no range; give values")
    low = _number(name, condition["from"]) if condition.get("from") is not None else -math.inf
    high = _number(name, condition["to"]) if condition.get("to") is not None else math.inf
    if low > high:
        raise DataError(f"the range of {name!r} is empty: {low:g} is above {high:g}")
    wide = pc.cast(array, pa.float64(), safe=False)
    return pc.and_(pc.greater_equal(wide, low), pc.less_equal(wide, high))


def _number(name: str, value: Any) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{name!r} is filtered by numbers, and {str(value)[:60]!r} is none")
    return number


def _whole(value: Any, number: float) -> int:
    try:
        return int(value)
    except ValueError:
        return int(number)


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in words:
        raise DataError(f"{name!r} is true or false, not {str(value)[:60]!r}")
    return words[str(value).lower()]


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool | dict | list) or value is None:
        raise DataError(f"{name!r} is filtered by text, not by {str(value)[:60]!r}")
    return str(value)
