"""Recordings in the .ts text format of sktime and aeon: one file, or a folder with NAME_TRAIN.ts and NAME_TEST.ts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, near
from tellapart.core.progress import Progress
from tellapart.data.columns import WINDOWS, split_of
from tellapart.data.limits import SERIES_CHANNELS
from tellapart.data.lines import lines, too_long
from tellapart.data.problems import Problems
from tellapart.data.series import packed
from tellapart.data.tables import Row, collect, in_blocks

ORDER = 30
SUFFIX = ".ts"
ROWS = 256
MARKS = ("#", "%")
STARTS = ("@problemname", "@timestamps", "@univariate", "@dimensions", "@data", "@missing")
CHANNELS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
ADVICE = "A .ts file has a header (@problemName, @classLabel, …), a line @data, and one window a line."


def accepts(path: Path) -> bool:
    """A .ts file that starts as such files do (others are programs or films), or a folder with such files."""
    return bool(_files(path))


def read(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """One row a window: `series`, `label` where the file has classes, `score` where it has numbers to be told, and
    `split` where the name of the file ends in that of a part.

    `columns` takes channels by their numbers from 0: `{"series": "0-2", "other_series": "3-5"}` makes two sensors of
    six channels, `{"series": "0,2"}` keeps two of them.
    """
    chosen = {role: _numbers(role, said) for role, said in (columns or {}).items()}
    if "other_series" in chosen and "series" not in chosen:
        raise DataError("columns= names the channels of other_series, and those of series as well, as in series=0-2")
    problems = Problems()
    rows = (row for file in _files(path) for row in _rows(file, chosen or {"series": None}, problems))
    base = path if path.is_dir() else path.parent
    return collect(
        in_blocks(rows, ROWS), source=path.name, root=root or base, typed=False, cache=cache, progress=progress,
        problems=problems, advice=ADVICE,
    )  # fmt: skip


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() == SUFFIX and p.is_file() and _starts(p))
        return sorted(found, key=lambda p: (_split(p) != "train", p.name))
    return [path] if path.suffix.lower() == SUFFIX and path.is_file() and _starts(path) else []


def _starts(file: Path) -> bool:
    """Whether the first line that is no comment is of a header."""
    try:
        for line in lines(file):
            said = (line or "-").strip().lower()
            if said and not said.startswith(MARKS):
                return said.startswith(STARTS)
    except DataError:
        return False
    return False


def _split(file: Path) -> str:
    """`BasicMotions_TRAIN.ts` -> `train`; "" where the last word of the name is no part of a split."""
    return split_of(file.stem.rsplit("_", 1)[-1]) if "_" in file.stem else split_of(file.stem)


def _numbers(role: str, said: str) -> list[int]:
    """`0-2,5` -> 0, 1, 2, 5."""
    if role not in WINDOWS:
        raise DataError(f"of a .ts file columns= takes channels for series and other_series, not {role!r}; "
                        f"{near(role, WINDOWS)}")  # fmt: skip
    if not CHANNELS.fullmatch(said.replace(" ", "")):
        raise DataError(f"columns= names {said!r} for {role}: write numbers of channels from 0, as in 0-2 or 0,3")
    found = []
    for piece in said.replace(" ", "").split(","):
        low, _, high = piece.partition("-")
        if max(int(low), int(high or low)) >= SERIES_CHANNELS or int(high or low) < int(low):
            raise DataError(f"columns= names channels {piece}: they rise, and are fewer than {SERIES_CHANNELS}")
        found += range(int(low), int(high or low) + 1)
    return found


def _rows(file: Path, chosen: Mapping[str, list[int] | None], problems: Problems) -> Iterator[Row]:
    said: dict[str, str] = {}
    split, begun = _split(file), False
    for number, line in enumerate(lines(file), 1):
        place = f"{file.name}:{number}"
        if line is None:
            problems.add("", place, too_long())
            continue
        line = line.strip()
        if not line or line.startswith(MARKS):
            continue
        if not begun:
            if not line.startswith("@"):
                raise DataError(f"{file.name}:{number} is a window before the line @data. {ADVICE}")
            name, _, value = line.partition(" ")
            said[name.lower()] = value.strip()
            begun = name.lower() == "@data"
            if begun:
                _check_header(file, said)
            continue
        try:
            yield (
                place,
                _row(line, said, chosen) | ({"split": split} if split else {}) | {"id": f"{file.stem}:{number}"},
            )
        except DataError as error:
            problems.add(f"{file.stem}:{number}", place, str(error))
    if not begun:
        raise DataError(f"{file.name} has no line @data. {ADVICE}")


def _check_header(file: Path, said: Mapping[str, str]) -> None:
    if _yes(said.get("@timestamps", "")):
        raise DataError(f"{file.name} has a time beside every value (@timeStamps true): give values at equal distances")


def _yes(said: str) -> bool:
    return said.lower().split(" ")[0] == "true"


def _row(line: str, said: Mapping[str, str], chosen: Mapping[str, list[int] | None]) -> dict[str, Any]:
    channels = line.split(":")
    row: dict[str, Any] = {}
    for name, role in (("@classlabel", "label"), ("@targetlabel", "score")):
        if _yes(said.get(name, "")):
            row[role] = channels.pop().strip()
    if not channels:
        raise DataError("no channel before the label")
    wanted = said.get("@dimensions", said.get("@dimension", ""))
    if wanted.isdecimal() and len(channels) != int(wanted):
        raise DataError(f"another number of channels: {len(channels)}, and the header says {wanted}")
    for role, numbers in chosen.items():
        if numbers is not None and max(numbers) >= len(channels):
            raise DataError(f"no channel {max(numbers)}: the window has {len(channels)}, numbered from 0")
        row[role] = packed([_values(channels[i]) for i in (numbers or range(len(channels)))])
    return row


def _values(text: str) -> list[float]:
    try:
        return np.asarray(["nan" if v.strip() == "?" else v for v in text.split(",")], dtype=np.float64).tolist()
    except ValueError:
        raise DataError(f"something that is no number among the values: {text[:40]!r}") from None
