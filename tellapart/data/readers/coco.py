"""Annotation files as COCO has them: pictures, boxes with categories (`instances`), captions (`captions`)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.progress import Progress
from tellapart.data.columns import split_of
from tellapart.data.limits import MIB, size_words
from tellapart.data.problems import Problems
from tellapart.data.provenance import with_about
from tellapart.data.tables import Row, collect, in_blocks

ORDER = 30
FILE_BYTES = 512 * MIB
HEAD = 4096
ROWS = 1024
FOLDER, BESIDE = "annotations", "_annotations.coco.json"
WANTED = ("instances", "captions")
FIRST_KEY = re.compile(r'^\ufeff?\s*\{\s*"(info|images|licenses|annotations|categories|type)"\s*:\s*[\[{"]')
ADVICE = (
    "An annotation file holds `images` (id, file_name) and `annotations` (image_id with bbox and category_id, or with "
    "caption)."
)


def accepts(path: Path) -> bool:
    """A .json file that starts as such files do, or a folder with annotations/instances_*.json or captions_*.json, or
    with _annotations.coco.json in it or in its folders."""
    try:
        return bool(_files(path))
    except OSError:
        return False


def read(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """One row a picture: `text` and `alternatives` from its captions, `regions` from its boxes, `attributes` and the
    names of the regions from their categories, `split` from the name of the file.

    A picture with boxes and without a caption has its categories for one. Boxes around crowds are left out. Pictures
    are looked for below `root`, beside the file, in the folder above it, there in `images/` and in a folder of the
    split's name.
    """
    if columns:
        raise DataError("an annotation file has fixed fields; columns= is for tables")
    problems = Problems()
    files = _files(path)
    base = root or _base(path, files)
    rows, crowds = _merged(files, base, problems)
    made = collect(in_blocks(rows, ROWS), source=path.name, root=base, cache=cache, progress=progress, total=len(rows),
                   problems=problems, advice=ADVICE)  # fmt: skip
    return with_about(made, notes=[f"{crowds} boxes around crowds were left out"] if crowds else [])


def _files(path: Path) -> list[Path]:
    if path.is_file():
        if path.suffix.lower() != ".json":
            return []
        with path.open(encoding="utf-8", errors="replace") as start:
            return [path] if FIRST_KEY.match(start.read(HEAD)) else []
    if not path.is_dir():
        return []
    inner = path / FOLDER if (path / FOLDER).is_dir() else path
    found = [f for f in sorted(inner.glob("*.json")) if f.stem.split("_")[0].lower() in WANTED and _files(f)]
    if found:
        return found
    with os.scandir(path) as entries:
        folders = [path, *sorted(Path(entry.path) for entry in entries if entry.is_dir())]
    return [file for folder in folders if (file := folder / BESIDE).is_file()]


def _base(path: Path, files: list[Path]) -> Path:
    """The folder that holds annotations and pictures."""
    if path.is_dir():
        return path
    beside = files[0].parent
    return beside.parent if beside.name.lower() == FOLDER else beside


def _merged(files: list[Path], base: Path, problems: Problems) -> tuple[list[Row], int]:
    """The rows of all files, those of one picture in one, and how many crowds were left out."""
    rows: dict[str, tuple[str, dict[str, Any]]] = {}
    crowds = 0
    for file in files:
        held = _loaded(file)
        part = file.stem.split("_", 1)[-1] if file.name != BESIDE else file.parent.name
        split = split_of(part)
        folder, of = _folder(file, base, part, held["images"]), {}
        for number, image in enumerate(held["images"], 1):
            name = image.get("file_name") if isinstance(image, dict) else None
            if not isinstance(name, str) or not name or not isinstance(image.get("id"), int | str):
                problems.add("", f"{file.name}: images[{number}]", "a picture without id or file_name")
                continue
            name = f"{folder}{name}"
            of[image["id"]] = name
            row = {"image": name, "text": [], "regions": [], "attributes": []}
            rows.setdefault(name, (f"{file.name}: images[{number}]", row | ({"split": split} if split else {})))
        names = {c["id"]: str(c.get("name", c["id"])) for c in held["categories"] if isinstance(c, dict) and "id" in c}
        for number, one in enumerate(held["annotations"], 1):
            place = f"{file.name}: annotations[{number}]"
            if not isinstance(one, dict) or one.get("image_id") not in of:
                problems.add("", place, "an annotation of no picture in the file")
            elif one.get("iscrowd"):
                crowds += 1
            else:
                _take(one, rows[of[one["image_id"]]][1], names, place, problems)
    return [(place, _captioned(row)) for place, row in rows.values()], crowds


def _take(one: dict[str, Any], row: dict[str, Any], names: dict[Any, str], place: str, problems: Problems) -> None:
    """An annotation, put into the row of its picture."""
    if isinstance(one.get("caption"), str) and one["caption"].strip():
        row["text"].append(one["caption"])
        return
    name = names.get(one.get("category_id"))
    box = one.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box):
        row["regions"].append({"bbox": box, "name": name})
    elif name is None or box is not None:
        problems.add(row["image"], place, "an annotation with neither caption nor a box of four numbers")
        return
    if name is not None and name not in row["attributes"]:
        row["attributes"].append(name)


def _captioned(row: dict[str, Any]) -> dict[str, Any]:
    return row if row["text"] else {**row, "text": ", ".join(row["attributes"])}


def _loaded(file: Path) -> dict[str, list[Any]]:
    size = file.stat().st_size
    if size > FILE_BYTES:
        raise DataError(
            f"{file.name} has {size_words(size)}, and at most {size_words(FILE_BYTES)} are read at once: give its parts"
        )
    try:
        held = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file.name} is not JSON: {error}") from None
    found = {name: held.get(name, []) for name in ("images", "annotations", "categories")}
    for name, value in found.items():
        if not isinstance(value, list):
            raise DataError(f"{file.name}: `{name}` is no list. {ADVICE}")
    if not found["images"]:
        raise DataError(f"{file.name} names no pictures. {ADVICE}")
    return found


def _folder(file: Path, base: Path, part: str, images: list[Any]) -> str:
    """The folder below the base in which the first picture of the file lies, as a prefix; "" where none does."""
    first = next((i["file_name"] for i in images if isinstance(i, dict) and isinstance(i.get("file_name"), str)), "")
    for prefix in _places(file, base, part):
        if (base / prefix / first).is_file():
            return f"{prefix}/" if prefix else ""
    return ""


def _places(file: Path, base: Path, part: str) -> Iterator[str]:
    beside = file.parent
    if beside != base and beside.is_relative_to(base):
        yield beside.relative_to(base).as_posix()
    yield from ("", "images", part, f"images/{part}", split_of(part))
