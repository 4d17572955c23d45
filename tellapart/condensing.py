"""A labelled collection in few items: parts of shape `condense`, for `tellapart select`."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.condensed import Condensed
from tellapart.core.errors import DataError
from tellapart.core.files import write_atomically
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Example, Examples, Figure, Report, Table
from tellapart.data.writing import check_writable, with_result, write_items

MOST_SIDE, SHOWN = 64, 12
LIST = "items.csv"


def condense(
    source: str | Path,
    *,
    keep: str = "20%",
    part: str = "coverage",
    column: str = "",
    out: str | Path | None = None,
    seed: int = 0,
    stages: Stages | None = None,
) -> Report:
    """Pick or make few items that stand for a labelled collection.

    Parts that choose items look at the vectors of the usual frozen encoder. Those that make them (`dcc`) are given the
    pixels of pictures that are all of one size of at most 64 pixels a side, and make pictures; of other items they are
    given the vectors, and make vectors.

    Args:
        source: as `read` takes it, with labels.
        keep: how many, as a number or a share such as `20%`.
        column: what is looked at; empty: `image`, or else `series`, `text` or `anchor`.
        out: a .jsonl, .csv or .parquet file for chosen items or made vectors; for made pictures a new folder.

    Raises:
        DataError: no labels, a number that cannot be kept, or an `out` that does not fit.
    """
    from tellapart.apply import how_many
    from tellapart.data.sources import read

    stages = stages or Silence()
    made = make("condense", part)
    with stages.stage("read") as told:
        collection = read(source, progress=told)
    name = column or next((c for c in ("image", "series", "text", "anchor") if c in collection.columns), "")
    if "label" not in collection.columns or not name:
        raise DataError(
            f"few items stand for a collection with items and a column `label`, and {source} has "
            f"{', '.join(collection.columns)}; for what is like a target, name it with --like"
        )
    collection = collection.take(np.flatnonzero([v is not None for v in collection.values("label")]))
    count = how_many(keep, len(collection), "items")
    makes = "makes" in card_of("condense", parse_spec(part)[0]).traits
    pixels = _pixels(collection) if makes and name == "image" else None
    _check_out(out, name if makes else "", pictures=pixels is not None)
    x = pixels.reshape(len(pixels), -1) if pixels is not None else _vectors(collection, name, stages)
    labels = [str(v) for v in collection.values("label")]
    with stages.stage(f"condense to {count}"):
        found: Condensed = made(x, labels, count, seed=seed)
    report = Report(f"{len(found)} items in the place of {len(collection)}")
    report.add(Figure("kept", len(found) / len(collection), count=len(collection)))
    names, before = np.unique(labels, return_counts=True)
    rows = [[n, int(b), int((found.y == n).sum())] for n, b in zip(names.tolist(), before, strict=True)]
    report.add(Table("Labels", ["label", "before", "after"], rows))
    report.facts = {"part": part, "seed": seed, "looked at": "pixels" if pixels is not None else f"vectors of {name}"}
    if found.rows is not None:
        chosen = with_result(collection.take(found.rows), "weight", found.weight)
        most = np.argsort(-found.weight, kind="stable")[:SHOWN]
        shown = [Example([str(chosen.ids[i])], f"stands for {found.weight[i]:.1f} times the mean") for i in most]
        report.add(Examples("Standing for the most others", shown))
        if out is not None:
            report.facts["written"] = str(write_items(chosen, Path(out)))
    elif out is not None and pixels is not None:
        report.facts["written"] = str(_write_pictures(found, pixels.shape[1:], Path(out)))
    elif out is not None:
        table = Collection.of({"vector": found.x.tolist(), "label": found.y.tolist()})
        report.facts["written"] = str(write_items(table, Path(out)))
    return report


def _check_out(out: str | Path | None, makes_of: str, *, pictures: bool) -> None:
    if pictures:
        if out is not None and (Path(out).exists() or Path(out).suffix):
            raise DataError(f"made pictures go into a new folder: --out names one that is not there yet, not {out}")
    elif makes_of == "image" and out is not None and not Path(out).suffix:
        raise DataError(
            f"these pictures are not all of one size of at most {MOST_SIDE} pixels a side: vectors are made, not "
            f"pictures: --out is a .jsonl, .csv or .parquet file, not {out}"
        )
    else:
        check_writable(out)


def _vectors(collection: Collection, column: str, stages: Stages) -> np.ndarray:
    from tellapart.recipe import usual_encoder
    from tellapart.runs import embedded

    return np.asarray(embedded(collection, column, make("encode", usual_encoder(column)), stages=stages))


def _pixels(collection: Collection) -> np.ndarray | None:
    """[n, height, width, 3] float32 in 0..1 of pictures of one small size; None where they are not."""
    from tellapart.engine.embed import items_of

    items, found = items_of(collection, "image", "image"), []
    for row in range(len(collection)):
        picture = items.at(row)
        if max(picture.size) > MOST_SIDE or (found and found[0].shape[1::-1] != picture.size):
            return None
        found.append(np.asarray(picture, np.uint8))
    return np.stack(found).astype(np.float32) / 255


def _write_pictures(found: Condensed, shape: tuple[int, ...], folder: Path) -> Path:
    """PNG files and the list of their labels; what `run` takes is the list."""
    from PIL import Image

    folder.mkdir(parents=True)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["id", "image", "label"])
    for number, (x, y) in enumerate(zip(found.x, found.y, strict=True)):
        file = f"{number:05d}.png"
        values = (np.clip(x.reshape(shape), 0, 1) * 255).round().astype(np.uint8)
        with io.BytesIO() as sink:
            Image.fromarray(values).save(sink, "PNG")
            write_atomically(folder / file, sink.getvalue())
        lines.writerow([f"made {number}", file, y])
    write_atomically(folder / LIST, text.getvalue().encode())
    return folder / LIST
