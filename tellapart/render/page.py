"""A report as one HTML file. It holds no script and loads nothing, and its own policy forbids both."""

from __future__ import annotations

import base64
import functools
import itertools
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.report import Example, Examples, Figure, Finding, Picture, Report, Table, Text
from tellapart.render import draw
from tellapart.render.values import cell, interval, is_difference, is_number, number

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
THUMBNAIL_PIXELS = 160
MOST_THUMBNAILS = 400
MOST_WORDS = 400
MOST_SVG = 2_000_000


def page(report: Report, collection: Collection | None = None) -> str:
    """The whole page. Everything that comes from data is escaped; drawings and pictures stand as images, inert."""
    pictures = _Pictures(collection)
    body = [f"<h1>{_words(report.title)}</h1>"]
    for kind, blocks in itertools.groupby(report.blocks, key=type):
        if kind is Figure:
            body.append(_figures(list(blocks)))  # type: ignore[arg-type]
            continue
        for block in blocks:
            if isinstance(block, Table):
                body.append(_table(block))
            elif isinstance(block, Finding):
                body.append(_finding(block, pictures))
            elif isinstance(block, Picture):
                body.append(_picture(block))
            elif isinstance(block, Examples):
                body.append(_examples(block, pictures))
            elif isinstance(block, Text):
                body.append(_text(block))
    if report.facts:
        terms = "".join(f"<dt>{_words(k)}</dt><dd>{_words(cell(v))}</dd>" for k, v in report.facts.items())
        body.append(f"<details open><summary>How this came about</summary><dl>{terms}</dl></details>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_words(report.title)}</title><style>{_style()}</style></head><body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


@functools.cache
def _style() -> str:
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8") + draw.style()


def _words(text: Any) -> str:
    return escape(str(text), quote=True)


def _figures(figures: list[Figure]) -> str:
    return f'<div class="figures">{"".join(_figure(f) for f in figures)}</div>'


def _figure(f: Figure) -> str:
    unit = f" {_words(f.unit)}" if f.unit else ""
    # A share is drawn on the whole way from 0 to 1; other numbers have no scale of their own to be drawn on.
    share = not f.unit and f.low is not None and f.high is not None and 0 <= f.low <= f.value <= f.high <= 1
    drawing = draw.bar(f, 0.0, 1.0, width=190) if share else ""
    more = " · ".join(t for t in (interval(f), f"over {f.count:,}" if f.count else "", f.note) if t)
    return (
        f'<div><div class="name">{_words(f.name)}</div><div class="value">{number(f.value)}{unit}</div>'
        f'{drawing}<div class="more">{_words(more)}</div></div>'
    )


def _table(table: Table) -> str:
    scales = [_scale(table, i) for i in range(len(table.columns))]
    numbers = [all(is_number(row[i]) or row[i] is None for row in table.rows) for i in range(len(table.columns))]
    head = "".join(f'<th{_class(n)} scope="col">{_words(c)}</th>' for c, n in zip(table.columns, numbers, strict=True))
    rows = []
    for row in table.rows:
        colour = _colour(row)
        cells = [
            f'<td{_class(n)} data-label="{_words(column)}">{_cell(value, column, scale, colour)}</td>'
            for value, column, n, scale in zip(row, table.columns, numbers, scales, strict=True)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    title = f"<h2>{_words(table.title)}</h2>" if table.title else ""
    note = f'<p class="dim">{_words(table.note)}</p>' if table.note else ""
    if not table.rows:
        return f'{title}<p class="dim">(none)</p>{note}'
    wide = ' class="wide"' if len(table.columns) > 2 else ""
    drawn = f"<table{wide}><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'{title}<div class="scroll">{drawn}</div>{note}'


def _class(numbers: bool) -> str:
    return ' class="n"' if numbers else ""


def _scale(table: Table, column: int) -> tuple[float, float] | None:
    figures = [row[column] for row in table.rows if isinstance(row[column], Figure) and row[column].low is not None]
    return draw.span(figures, zero=is_difference(table.columns[column])) if figures else None


def _colour(row: Sequence[Any]) -> int:
    """The colour of the differences in a row: that of the verdict which stands in it."""
    said = [v for v in row if isinstance(v, str)]
    if any(v.startswith("helps") for v in said):
        return draw.HELPS
    return draw.HURTS if any(v.startswith("hurts") for v in said) else draw.NEITHER


def _cell(value: Any, column: str, scale: tuple[float, float] | None, colour: int) -> str:
    difference = is_difference(column)
    text = cell(value, signed=difference)
    if isinstance(value, Figure) and scale is not None:
        colour = colour if difference else 0
        return f"<div>{_words(text)}{draw.bar(value, *scale, colour=colour)}</div>"
    mark = "good" if text.startswith("helps") else "bad" if text.startswith("hurts") else ""
    return f'<span class="{mark}">{_words(text)}</span>' if mark else _words(text)


def _picture(picture: Picture) -> str:
    source = ""
    if picture.svg and len(picture.svg) <= MOST_SVG:
        source = _data("image/svg+xml", picture.svg.encode())
    elif picture.path:
        from tellapart.data.images import thumbnail

        try:
            source = _data("image/webp", thumbnail(Path(picture.path), size=1280))
        except DataError as error:
            said = f"{picture.caption} (not shown: {error})"
            return f'<h2>{_words(picture.title)}</h2><p class="dim">{_words(said)}</p>'
    image = f'<img src="{source}" alt="{_words(picture.caption)}">' if source else ""
    return f"<h2>{_words(picture.title)}</h2><figure>{image}<figcaption>{_words(picture.caption)}</figcaption></figure>"


def _text(text: Text) -> str:
    if text.kind == "code":
        return f"<pre>{_words(text.text)}</pre>"
    if text.kind == "heading":
        return f'<h2 class="part">{_words(text.text)}</h2>'
    kind = "warning" if text.kind == "warn" else text.kind
    mark = f' class="{kind}"' if kind in ("warning", "verdict", "next") else ""
    return f"<p{mark}>{_words(text.text)}</p>"


def _finding(finding: Finding, pictures: _Pictures) -> str:
    """A finding as a card: what, how much, the items that show it, and the command that would mend it."""
    f = finding.figure
    said = " · ".join(t for t in (interval(f), f"over {f.count:,}" if f.count else "", f.note) if t)
    shown = "".join(_example(e, pictures) for e in finding.examples)
    items = f'<div class="examples">{shown}</div>' if shown else ""
    mend = f'<p class="dim">What may mend it:</p><pre>{_words(finding.mend)}</pre>' if finding.mend else ""
    return (
        f'<section class="finding"><h2>{_words(f.name)}</h2><p>{_words(finding.said)}</p>'
        f'<p><span class="value">{number(f.value)}</span> <span class="dim">{_words(said)}</span></p>'
        f"{items}{mend}</section>"
    )


def _examples(examples: Examples, pictures: _Pictures) -> str:
    shown = "".join(_example(e, pictures) for e in examples.items)
    return f'<h2>{_words(examples.title)}</h2><div class="examples">{shown}</div>'


def _example(example: Example, pictures: _Pictures) -> str:
    items = []
    for id_, score in itertools.zip_longest(example.ids, example.scores):
        if id_ is None:
            break
        said = "" if score is None else f'<div class="score dim">{number(score)}</div>'
        items.append(f'<div class="item">{pictures.show(str(id_))}{said}</div>')
    why = f"<p>{_words(example.why)}</p>" if example.why else ""
    return f'<div class="example">{why}<div class="items">{"".join(items)}</div></div>'


class _Pictures:
    """Items of a collection as small pieces of the page; pictures until their bound is reached, words always."""

    def __init__(self, collection: Collection | None) -> None:
        self.collection = collection
        self.made: dict[str, str] = {}

    def show(self, id_: str) -> str:
        if self.collection is None or id_ not in self.collection.row_of:
            return f"<div>{_words(id_)}</div>"
        item = self.collection.item(id_)
        words = next((item[c] for c in ("text", "anchor", "label") if isinstance(item.get(c), str)), id_)
        shown = words if len(words) <= MOST_WORDS else words[:MOST_WORDS] + "…"
        column = next((c for c in ("image", "other_series", "series") if item.get(c) is not None), "")
        source = self._source(id_, column, item.get(column))
        image = f'<img src="{source}" alt="{_words(shown)}" title="{_words(id_)}">' if source else ""
        return f"{image}<div>{_words(shown)}</div>"

    def _source(self, id_: str, column: str, value: Any) -> str:
        if id_ not in self.made:
            self.made[id_] = self._thumbnail(id_, column, value) if len(self.made) < MOST_THUMBNAILS else ""
        return self.made[id_]

    def _thumbnail(self, id_: str, column: str, value: Any) -> str:
        from tellapart.data.images import image_source, thumbnail
        from tellapart.data.regions import box_of
        from tellapart.data.series import thumbnail as curves

        assert self.collection is not None
        try:
            source = image_source(value, self.collection.root)
            if isinstance(source, Path) and self.collection.root is not None:
                _must_lie_in(self.collection.root, source)
            if column not in ("", "image"):
                return _data("image/webp", curves(source, size=THUMBNAIL_PIXELS))
            box = box_of(self.collection, self.collection.row_of[id_])
            return _data("image/webp", thumbnail(source, size=THUMBNAIL_PIXELS, box=box))
        except DataError:
            return ""


def _must_lie_in(root: Path, file: Path) -> None:
    if not file.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{file} lies outside the collection")


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
