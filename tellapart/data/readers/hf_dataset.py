"""What `datasets` writes with `save_to_disk`: one data set, or one folder a split. Read with pyarrow alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.progress import Progress
from tellapart.data.arrow import class_names, rows, rows_a_batch
from tellapart.data.columns import split_of
from tellapart.data.limits import JSON_BYTES, SHARDS
from tellapart.data.paths import below
from tellapart.data.problems import Problems
from tellapart.data.tables import Row, collect

ORDER = 10
STATE, INFO, SPLIT_LIST = "state.json", "dataset_info.json", "dataset_dict.json"


def accepts(path: Path) -> bool:
    """A folder with state.json or dataset_dict.json."""
    return path.is_dir() and ((path / STATE).is_file() or (path / SPLIT_LIST).is_file())


def read(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """A saved data set; the splits of a dictionary of them become the column `split`, numbered classes their names."""
    problems = Problems()
    if (path / SPLIT_LIST).is_file():
        names = _json(path / SPLIT_LIST).get("splits")
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            raise DataError(f"{path / SPLIT_LIST} names no splits")
        parts: list[tuple[str, Path]] = []
        for name in names:
            split = split_of(name, first_word=True)
            if split or len(names) == 1:
                parts.append((split, _inside(path, name)))
            else:
                reason = f"the part {name!r} is none of train, validation and test: rename it, or read it by itself"
                problems.add("", name, reason)
        if not parts:
            raise DataError(f"{path} holds {', '.join(names)}, and none is train, validation or test; give one of them")
    else:
        parts = [("", path)]
    files = [(split, file, classes) for split, folder in parts for file, classes in _files(folder)]
    return collect(
        _blocks(files), source=path.name, root=root or path, columns=columns, cache=cache, progress=progress,
        problems=problems,
    )  # fmt: skip


def _files(folder: Path) -> list[tuple[Path, dict[str, list[str]]]]:
    state = _json(folder / STATE)
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise DataError(f"{folder} was saved with a selection on top; call flatten_indices() and save_to_disk() again")
    named = state.get("_data_files")
    if not isinstance(named, list) or len(named) > SHARDS:
        raise DataError(f"{folder / STATE} names no data files")
    classes = class_names(_json(folder / INFO).get("features")) if (folder / INFO).is_file() else {}
    files = []
    for entry in named:
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise DataError(f"{folder / STATE} names a data file without a file name")
        files.append((folder / below(folder, name), classes))
    return files


def _blocks(files: list[tuple[str, Path, dict[str, list[str]]]]) -> Iterator[list[Row]]:
    for split, path, classes in files:
        row = 0
        try:
            with pa.memory_map(str(path)) as source, _reader(source) as reader:
                for whole in reader:
                    size = rows_a_batch(whole.schema)
                    for start in range(0, len(whole), size):
                        found = rows(whole.slice(start, size), classes)
                        extra = {"split": split} if split and "split" not in whole.schema.names else {}
                        yield [(f"{path.name}:{row + i}", {**made, **extra}) for i, made in enumerate(found, 1)]
                        row += min(size, len(whole) - start)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is damaged after row {row}: {error}; save the data set again") from None


def _reader(source: pa.MemoryMappedFile) -> pa.RecordBatchStreamReader:
    return pa.ipc.open_stream(source)


def _inside(path: Path, name: str) -> Path:
    if Path(name).name != name or name in (".", "..") or not (path / name).is_dir():
        raise DataError(f"{path / SPLIT_LIST} names the split {name!r}, and there is no such folder")
    return path / name


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > JSON_BYTES:
            raise DataError(f"{path} is too large to be what `datasets` writes")
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise DataError(f"{path} is missing; save the data set again with save_to_disk()") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path} is not what `datasets` writes")
    return value
