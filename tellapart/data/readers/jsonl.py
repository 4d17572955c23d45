"""Records as JSON: one a line (.jsonl, .ndjson, with or without gzip), or one list of them (.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.progress import Progress
from tellapart.data.limits import JSON_BYTES, size_words
from tellapart.data.lines import lines, record, too_long
from tellapart.data.problems import Problems
from tellapart.data.tables import Row, collect, in_blocks

ORDER = 50
SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".json")
ROWS = 4096


def accepts(path: Path) -> bool:
    """A file named .jsonl, .ndjson or .json."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def read(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """A file of JSON records."""
    problems = Problems()
    return collect(
        either(path, problems), source=path.name, root=root or path.parent, columns=columns, cache=cache,
        progress=progress, problems=problems,
    )  # fmt: skip


def either(path: Path, problems: Problems) -> Iterator[list[Row]]:
    """The records of a file, one a line or in one list."""
    whole = path.suffix.lower() == ".json" and _starts_with(path, "[")
    return listed(path, problems) if whole else blocks(path, problems)


def blocks(path: Path, problems: Problems) -> Iterator[list[Row]]:
    """The records by blocks; lines that are none are problems."""
    return in_blocks(_records(path, problems), ROWS)


def _records(path: Path, problems: Problems) -> Iterator[Row]:
    for number, line in enumerate(lines(path), 1):
        place = f"{path.name}:{number}"
        if line is not None and not line.strip():
            continue
        try:
            if line is None:
                raise DataError(too_long())
            row = record(line)
        except DataError as error:
            problems.add("", place, str(error))
            continue
        yield place, row


def listed(path: Path, problems: Problems) -> Iterator[list[Row]]:
    """The records of one JSON list; such a file is read whole, so its size is bounded."""
    size = path.stat().st_size
    if size > JSON_BYTES:
        raise DataError(f"{path.name} has {size_words(size)} in one list; write one record a line and name it .jsonl")
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path.name} is not JSON: {error}") from None
    block: list[Row] = []
    for number, value in enumerate(values, 1):
        if isinstance(value, dict):
            block.append((f"{path.name}:{number}", value))
        else:
            problems.add("", f"{path.name}:{number}", "not a record")
    if block:
        yield block


def _starts_with(path: Path, mark: str) -> bool:
    for line in lines(path):
        if line is None:
            return False
        if line.strip():
            return line.lstrip("\ufeff \t").startswith(mark)
    return False
