"""Tables as text: CSV, TSV, with or without gzip. The first row names the columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.progress import Progress
from tellapart.data.limits import TEXT_CHARS
from tellapart.data.lines import lines, too_long
from tellapart.data.problems import Problems
from tellapart.data.tables import Row, collect, in_blocks

ORDER = 50
SUFFIXES = (".csv", ".tsv", ".tab", ".csv.gz", ".tsv.gz")
ROWS = 4096


def accepts(path: Path) -> bool:
    """A file named .csv, .tsv or .tab, or one of these with .gz."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def read(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """A CSV or TSV file; numbers are read off whole columns, so that `007` stays text."""
    problems = Problems()
    return collect(
        blocks(path, problems), source=path.name, root=root or path.parent, columns=columns, typed=False, cache=cache,
        progress=progress, problems=problems,
    )  # fmt: skip


def blocks(path: Path, problems: Problems) -> Iterator[list[Row]]:
    """The rows by blocks; rows that do not fit the header are problems."""
    return in_blocks(_rows(path, problems), ROWS)


def _rows(path: Path, problems: Problems) -> Iterator[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), TEXT_CHARS))
    reader = csv.reader(_known(path, problems), delimiter=delimiter(path), strict=True)
    header: list[str] | None = None
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            problems.add(
                "", f"{path.name}:{start}", f"quotes that do not close: {error}; write a quote inside quotes twice"
            )
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            while header and not header[-1]:
                header.pop()
            continue
        while len(cells) > len(header) and not cells[-1]:
            cells.pop()
        if len(cells) != len(header):
            problems.add(
                "",
                f"{path.name}:{start}",
                f"a row of another width: {len(cells)} fields, and the header has {len(header)}",
            )
            continue
        row = dict(zip(header, cells, strict=True)) if len(set(header)) == len(header) else _twice(header, path)
        yield f"{path.name}:{start}", row


def _twice(header: list[str], path: Path) -> dict[str, str]:
    name = next(n for n in header if header.count(n) > 1)
    raise DataError(f"{path.name} has {header.count(name)} columns named {name!r}; give each a name of its own")


def _known(path: Path, problems: Problems) -> Iterator[str]:
    for number, line in enumerate(lines(path), 1):
        if line is None:
            problems.add("", f"{path.name}:{number}", too_long())
            yield "\n"
        else:
            yield line


def delimiter(path: Path) -> str:
    """A tab for .tsv; for .csv whichever of comma, semicolon and tab stands most often in the first line."""
    if path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab")):
        return "\t"
    first = next(iter(lines(path)), None) or ""
    return max((",", ";", "\t"), key=first.count)
