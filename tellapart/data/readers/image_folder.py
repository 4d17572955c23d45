"""A folder of pictures. Captions come from a table of metadata, from files beside the pictures, or from file names;
folders that sort the pictures are their labels."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.progress import Progress
from tellapart.data.captions import caption_of
from tellapart.data.columns import split_of
from tellapart.data.images import SUFFIXES, UNREAD
from tellapart.data.limits import SIDECAR_BYTES, size_words
from tellapart.data.lines import record
from tellapart.data.paths import walk
from tellapart.data.problems import Problems
from tellapart.data.provenance import with_about
from tellapart.data.readers import delimited, jsonl, parquet
from tellapart.data.series import ends_as_window
from tellapart.data.tables import ONE_SIDED, Row, collect

ORDER = 90
ROWS = 1024
TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
BESIDE = (".txt", ".caption", ".json")
ADVICE = (
    "Give a folder with pictures (.jpg, .png, .webp, …), or the path of a table; windows of recordings (.npy) "
    "and sound (.wav, .flac, .ogg) are named by a table, metadata.csv with a column `series` or `sound`."
)


def accepts(path: Path) -> bool:
    """Any folder that no other reader wants."""
    return path.is_dir()


def read(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """The pictures below a folder; ids are their paths.

    Where captions come from, in this order: metadata.csv, .jsonl or .parquet with a column `file_name`; files of the
    same name beside the pictures (.txt with one caption a line, .caption, .json); file names that say something.
    Folders at one depth give `label`, and their names `train`, `validation` and `test` on top give `split`. Where they
    are two deep or deeper, `folder_1`, `folder_2` and so on are the labels of each level, from the coarsest;
    `columns={"label": "folder_1"}` takes one of them for `label`.
    """
    problems = Problems()
    tables = [f for f in walk(path) if f.name.lower() in TABLES]
    if tables:
        blocks: Iterator[list[Row]] = itertools.chain.from_iterable(
            _table(t, path, problems, set((columns or {}).values())) for t in tables
        )
        return collect(blocks, source=path.name, root=root or path, columns=columns, typed=False, cache=cache,
                       progress=progress, problems=problems, advice=ADVICE)  # fmt: skip
    if columns and set(columns) != {"label"}:
        raise DataError(
            "columns= is for tables, and this is a folder of pictures without metadata.csv: only label=folder_1 and "
            "the like can be said, where folders lie in folders"
        )
    pictures = list(_pictures(path, problems))
    rows, notes = _described(path, pictures, problems, (columns or {}).get("label", ""))
    blocks = (rows[start : start + ROWS] for start in range(0, len(rows), ROWS))
    made = collect(blocks, source=path.name, root=path, cache=cache, progress=progress, total=len(rows),
                   problems=problems, advice=ADVICE)  # fmt: skip
    return with_about(made, notes=notes)


def _table(table: Path, root: Path, problems: Problems, asked: set[str]) -> Iterator[list[Row]]:
    """Rows of one metadata table, its paths taken from the folder it lies in."""
    kind = table.suffix.lower()
    found = (
        parquet.blocks([table], asked) if kind == ".parquet"
        else jsonl.blocks(table, problems) if kind == ".jsonl" else delimited.blocks(table, problems)
    )  # fmt: skip
    prefix = table.parent.relative_to(root).as_posix()
    split = split_of(prefix.split("/")[0])
    for block in found:
        if prefix != ".":
            for _, row in block:
                name = next((n for n in row if n.strip().lower() in ("file_name", "image", "filename")), None)
                for one in (n for n in row if n == name or ends_as_window(row[n])):
                    if isinstance(row[one], str) and row[one].strip():
                        row[one] = f"{prefix}/{row[one].strip()}"
                if split:
                    row.setdefault("split", split)
        yield block


def _pictures(root: Path, problems: Problems) -> Iterator[str]:
    base = root.resolve()
    for file in walk(root):
        name = file.relative_to(root).as_posix()
        suffix = file.suffix.lower()
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            if suffix in SUFFIXES:
                problems.add(name, name, "a file name that is not valid UTF-8; rename it")
            continue
        if suffix in UNREAD:
            problems.add(name, name, f"{UNREAD[suffix]}, which is not read: convert it to PNG or JPEG")
        elif suffix in SUFFIXES:
            if file.is_symlink() and not file.resolve().is_relative_to(base):
                problems.add(name, name, "a link that leads out of the folder; copy the picture here")
            else:
                yield name


def _described(root: Path, pictures: list[str], problems: Problems, level: str) -> tuple[list[Row], list[str]]:
    labels, splits, notes = _folders(pictures)
    extra: list[dict[str, Any]] = [{} for _ in pictures]
    levels = _levels(labels)
    if level and level not in levels:
        raise DataError(
            f"there are no labels {level!r}: "
            + (
                f"the levels of the folders are {', '.join(levels)}"
                if levels
                else "no folder lies in a folder of labels"
            )
        )
    for column, values in (*levels.items(), ("label", levels.get(level, labels)), ("split", splits)):
        if any(values):
            for row, value in zip(extra, values, strict=True):
                row[column] = value or None
    beside = [_beside(root, name) for name in pictures]
    if any(found is not None for found in beside):
        rows = []
        for name, found, row in zip(pictures, beside, extra, strict=True):
            try:
                if found is None and ONE_SIDED.get():
                    rows.append((name, {"image": name, "text": None, **row}))
                    continue
                if found is None:
                    raise DataError("no caption: other pictures have a file of the same name with one, this has none")
                rows.append((name, {"image": name, **row, **_sidecar(found)}))
            except DataError as error:
                problems.add(name, name, str(error))
        return rows, [*notes, "captions come from the files beside the pictures"]
    captions = [caption_of(name.rsplit("/", 1)[-1]) for name in pictures]
    told = Counter(c for c in captions if c)
    if any(labels) and len(told) < len(pictures) / 2:
        return [(n, {"image": n, **row}) for n, row in zip(pictures, extra, strict=True)], notes
    if not told:
        name = pictures[0].rsplit("/", 1)[-1] if pictures else "IMG_0001"
        note = (
            f"the file names say nothing about the pictures (such as {name}), so there are no captions: put a .txt of "
            f"the same name beside each, or a metadata.csv (file_name, text), or sort them into folders by label"
        )
        return [(n, {"image": n, **row}) for n, row in zip(pictures, extra, strict=True)], [*notes, note]
    for name, caption in zip(pictures, captions, strict=True):
        if not caption:
            problems.add(name, name, "no caption: its file name says nothing, and those of other pictures do")
    rows = [
        (n, {"image": n, "text": c or None, **row})
        for n, c, row in zip(pictures, captions, extra, strict=True)
        if c or ONE_SIDED.get()
    ]
    return rows, [*notes, "captions come from the file names"]


def _folders(pictures: list[str]) -> tuple[list[str], list[str], list[str]]:
    """(label, split) of each picture from the folders it lies in, and notes; empty texts where they say nothing.

    Folders on top are a split when all of them name a part of one, or when two different parts are named. Below it, or
    without it, the folders are labels when those pictures that lie in any lie equally deep in them; without a split no
    picture may lie outside.
    """
    nothing = [""] * len(pictures)
    parts = [name.split("/")[:-1] for name in pictures]
    splits = [split_of(p[0]) if p else "" for p in parts]
    if all(splits) or len({*splits} - {""}) > 1:
        parts = [p[1:] if split else p for p, split in zip(parts, splits, strict=True)]
    else:
        splits = nothing
    labels = ["/".join(p) for p in parts]
    depths = {len(p) for p in parts} - ({0} if any(splits) else set())
    if len(depths) != 1 or len({*labels} - {""}) < 2:
        return nothing, splits, []
    return labels, splits, [f"the folders are the labels ({len({*labels} - {''})})"]


def _levels(labels: list[str]) -> dict[str, list[str]]:
    """The labels of each level of folders in folders, from the coarsest; nothing where there is one level."""
    paths = [label.split("/") for label in labels]
    depth = max(map(len, paths), default=0)
    return {f"folder_{n}": ["/".join(p[:n]) for p in paths] for n in range(1, depth + 1)} if depth > 1 else {}


def _beside(root: Path, name: str) -> Path | None:
    file = root / name
    for suffix in BESIDE:
        for beside in (file.with_suffix(suffix), file.with_name(file.name + suffix)):
            if beside.is_file():
                return beside
    return None


def _sidecar(file: Path) -> dict[str, Any]:
    if file.is_symlink():
        raise DataError(f"{file.name} is a link and is not read")
    size = file.stat().st_size
    if size > SIDECAR_BYTES:
        raise DataError(f"{file.name} is too large for a caption: {size_words(size)}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{file.name} cannot be read as UTF-8: {error}") from None
    if file.suffix == ".json":
        return {k: v for k, v in record(text).items() if k != "image"}
    captions = [line.strip() for line in text.splitlines() if line.strip()]
    return {"text": captions if len(captions) > 1 else (captions or [""])[0]}
