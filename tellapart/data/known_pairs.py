"""Pairs of records that are known to be the same, or not to be: a file of one's own."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, near

MOST_BYTES, MOST_PAIRS = 1 << 28, 5_000_000
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


@dataclass(frozen=True)
class KnownPairs:
    """What is known of two tables, or of one twice, by row numbers.

    Attributes:
        matches: row of the first table -> its matches in the other; empty for a record known to have none.
        wrong: pairs that are no match.
    """

    matches: dict[int, set[int]]
    wrong: list[tuple[int, int]]


def read_pairs(file: str | Path, one: Collection, other: Collection) -> KnownPairs:
    """Pairs from a .csv, .jsonl or .parquet file with columns `a`, `b` (ids; an empty `b`: it has no match) and,
    where some are no match, `match` (1 or 0).

    Of one table, given twice, a pair holds both ways.

    Raises:
        DataError: a file that does not read or holds something else, ids that are in neither table, no match at all.
    """
    matches: dict[int, set[int]] = {}
    wrong: list[tuple[int, int]] = []
    for number, row in enumerate(_rows(Path(file)), 1):
        if number > MOST_PAIRS:
            raise DataError(f"{file} has more than {MOST_PAIRS:,} pairs; give fewer")
        if not {"a", "b"} <= set(row):
            raise DataError(
                f"{file} needs columns a and b, the ids of both records of a pair; it has {', '.join(map(str, row))}"
            )
        a, b = (_row_of(row[name], of, f"{file}, row {number}") for name, of in (("a", one), ("b", other)))
        if a is None:
            raise DataError(f"{file}, row {number}: a is empty; write the id of a record of the first table")
        if b is None:
            matches.setdefault(a, set())
        elif _is_match(row.get("match"), f"{file}, row {number}"):
            if one is other and a == b:
                raise DataError(f"{file}, row {number}: {row['a']!r} is paired with itself; leave the row out")
            matches.setdefault(a, set()).add(b)
            if one is other:
                matches.setdefault(b, set()).add(a)
        else:
            wrong.append((a, b))
    twice = next((pair for pair in wrong if pair[1] in matches.get(pair[0], ())), None)
    if twice is not None:
        raise DataError(f"{file} says of {one.ids[twice[0]]!r} and {other.ids[twice[1]]!r} that they match and do not")
    if not any(matches.values()):
        raise DataError(f"{file} has no pair that matches, so nothing can be learnt from it of when two are the same")
    return KnownPairs(matches, wrong)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    if not file.is_file():
        raise DataError(f"there is no file of labelled pairs {file}")
    if file.stat().st_size > MOST_BYTES:
        raise DataError(f"{file} has more than {MOST_BYTES >> 20} MiB, so it is no file of pairs")
    try:
        if file.suffix == ".csv":
            with file.open(encoding="utf-8-sig", newline="") as lines:
                yield from csv.DictReader(lines)
        elif file.suffix == ".jsonl":
            for line in file.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                yield row if isinstance(row, dict) else {}
        elif file.suffix == ".parquet":
            import pyarrow.parquet

            yield from pyarrow.parquet.read_table(file).to_pylist()
        else:
            raise DataError(f"labelled pairs are a file that ends in .csv, .jsonl or .parquet, not {file}")
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} cannot be read: {error}") from None


def _row_of(value: Any, of: Collection, where: str) -> int | None:
    id_ = "" if value is None else str(value).strip()
    if not id_:
        return None
    if id_ not in of.row_of:
        raise DataError(f"{where}: there is no record {id_!r}; {near(id_, of.row_of)}")
    return of.row_of[id_]


def _is_match(value: Any, where: str) -> bool:
    said = "1" if value is None or value == "" else str(value).strip().lower()
    if said not in (*YES, *NO):
        raise DataError(f"{where}: match is {value!r}; write 1 or 0")
    return said in YES
