"""Which region of a picture is odd: `tellapart detect` by score parts of the trait `positions`."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import detecting
from tellapart.core.collection import Collection
from tellapart.core.detection import threshold_for
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make, make_chain
from tellapart.core.progress import Stages
from tellapart.core.report import Picture, Report

MOST = 300
BLOCK = 32
SIDE, ACROSS, ROOM = 160, 4, 34


def odd_regions(
    run: str | Path, source: str | Path, *, score: str, false_alarms: float, out: str | Path | None, stages: Stages
) -> Report:
    """Say of every picture of a collection whether it is odd beside the run's, and which region of it.

    The score is fitted on positions of the run's training pictures, as the run's encoder gives them before any head.
    The threshold is that of `detect`; the region of an odd picture is what lies above it, and above half of the
    largest place of its map, around that place. Of each part of the run at most `MOST` pictures are looked at, drawn at
    random.

    Raises:
        DataError: the run does not search pictures, or its encoder has no positions.
    """
    from tellapart.runs import Run

    opened = Run(run, stages=stages)
    side = opened.collection.sides().document
    if side.modality != "image":
        raise DataError(f"{score} finds odd regions of pictures, and {run} searches {side.column!r}: use knn")
    encoder = _seeing(opened.model.encoders["image"], score)
    new = detecting.incoming(source, side.column, run, stages)
    some = {part: _some(opened.rows(part)) for part in ("train", "validation", "test")}
    known = opened.collection
    with stages.stage("positions of normal pictures"):
        x = np.concatenate([x for x, _ in _positions(known, side.column, encoder, some["train"])])
    with stages.stage(f"fit {score}"):
        fitted = make("score", score).fit(x)
    del x
    with stages.stage("look at held-out pictures"):
        held = [
            np.concatenate([fitted.score(x) for x, _ in _positions(known, side.column, encoder, some[part])])
            for part in ("validation", "test")
        ]
    threshold = threshold_for(held[0], false_alarms)
    with stages.stage("look at new pictures"):
        looked = [(fitted.maps(x), s) for x, s in _positions(new, side.column, encoder, np.arange(len(new)))]
    maps = np.concatenate([m for m, _ in looked])
    sizes = [size for _, s in looked for size in s]
    found = maps.max(axis=(1, 2))
    odd = found > threshold
    boxes = [
        region(m, max(threshold, float(m.max()) / 2), size) if o else None
        for m, size, o in zip(maps, sizes, odd, strict=True)
    ]
    report = Report(f"Odd pictures by {score}: {int(odd.sum())} of {len(new)}")
    report.add(detecting.unknown_share(odd))
    report.add(detecting.false_alarms(held[1] > threshold, known.numbers("group")[some["test"]]))
    report.add(*detecting.of_threshold(threshold, false_alarms, len(held[0])))
    said = [_said(box) for box in boxes]
    note = f"Box: x, y, width, height in pixels. Normal is what {len(some['train'])} training pictures show."
    report.add(detecting.listed(new, found, odd, ("box", said), note=note))
    marked = [int(r) for r in detecting.least_known(found) if odd[r]]
    if marked:
        drawing = drawn(new, side.column, marked, boxes, sizes)
        words = "The odd region of each picture is framed; the boxes stand in the table."
        report.add(Picture("Where they are odd", words, svg=drawing))
    columns = {"score": found, "unknown": odd, "box": said}
    return detecting.finished(report, new, columns, out, run=str(run), score=score)


def region(places: np.ndarray, threshold: float, size: tuple[int, int]) -> list[int]:
    """x, y, width and height in pixels of what lies above the threshold around the largest place of a map [h, w].

    Args:
        size: width and height of the picture, of which the places are equal parts.
    """
    from scipy.ndimage import label

    rows, columns = places.shape
    pieces, _ = label(places > threshold, structure=np.ones((3, 3)))
    here = np.argwhere(pieces == pieces[np.unravel_index(places.argmax(), places.shape)])
    (top, left), (bottom, right) = here.min(axis=0), here.max(axis=0) + 1
    x, y = int(left * size[0] // columns), int(top * size[1] // rows)
    return [x, y, max(1, -int(-right * size[0] // columns) - x), max(1, -int(-bottom * size[1] // rows) - y)]


def drawn(
    collection: Collection, column: str, rows: Sequence[int], boxes: Sequence[Any], sizes: Sequence[tuple[int, int]]
) -> str:
    """An SVG of small copies of pictures with their boxes."""
    from tellapart.engine.embed import items_of

    items, pieces = items_of(collection, column, "image"), []
    for at, row in enumerate(rows):
        left, top = at % ACROSS * (SIDE + 12), at // ACROSS * (SIDE + ROOM)
        grown = SIDE / max(sizes[row])
        width, height = (grown * length for length in sizes[row])
        x, y, w, h = (grown * value for value in boxes[row])
        frame = f'x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="none"'
        pieces.append(
            f'<g transform="translate({left + 2},{top + 2})">'
            f'<image width="{width:.1f}" height="{height:.1f}" href="{_copy(items.at(int(row)))}"/>'
            f'<rect {frame} stroke="#fff" stroke-width="4"/><rect {frame} stroke="#d0021b" stroke-width="2"/>'
            f'<text x="0" y="{SIDE + 18}" font-family="sans-serif" font-size="12" fill="#777">'
            f"{escape(str(collection.ids[row])[-24:])}</text></g>"
        )
    across, down = min(len(rows), ACROSS), -(-len(rows) // ACROSS)
    size = f'width="{across * (SIDE + 12)}" height="{down * (SIDE + ROOM)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(pieces)}</svg>'


def _seeing(encoder: Any, score: str) -> Any:
    """The encoder, or of several that are joined the first, that gives positions."""
    joined = make_chain("encode", encoder.parts) if hasattr(encoder, "parts") else ()
    for one in (encoder, *joined):
        if hasattr(one, "encode_positions"):
            return one
    raise PartError(f"{score} needs an image encoder that gives positions, such as lite0: run with image=lite0")


def _copy(image: Any) -> str:
    import io

    small, sink = image.convert("RGB"), io.BytesIO()
    small.thumbnail((SIDE, SIDE))
    small.save(sink, format="WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(sink.getvalue()).decode()}"


def _positions(
    collection: Collection, column: str, encoder: Any, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, list[tuple[int, int]]]]:
    """Blocks of positions [n, h, w, d], and the sizes of the pictures."""
    from tellapart.engine.embed import items_of

    items = items_of(collection, column, "image")
    for start in range(0, len(rows), BLOCK):
        pictures = [items.at(int(row)) for row in rows[start : start + BLOCK]]
        yield encoder.encode_positions(pictures), [picture.size for picture in pictures]


def _some(rows: np.ndarray) -> np.ndarray:
    return rows if len(rows) <= MOST else np.sort(np.random.default_rng(0).choice(rows, MOST, replace=False))


def _said(box: list[int] | None) -> str:
    return "" if box is None else " ".join(map(str, box))
