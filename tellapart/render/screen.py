"""A report on a terminal, wide or narrow."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text as Line

from tellapart.core.report import Example, Examples, Figure, Finding, Picture, Report, Table, Text
from tellapart.render.values import MISSING, cell, interval, is_difference, is_number, number, printable

STYLES = {
    "heading": "bold underline",
    "warning": "yellow",
    "warn": "yellow",
    "verdict": "bold",
    "next": "cyan",
    "paper": "italic",
}
VERDICTS = (("no difference", "dim"), ("helps", "green"), ("hurts", "red"))
NARROW = 60
SHOWN_EXAMPLES = 8
SHOWN_IN_FINDING = 3
LONGEST_WORD, TIGHT, SHORTEST_WORD = 40, 10, 6
BETWEEN = 3
WORD_IN_PARTS = 16
MOST_NAME = 60
MOST_FACT = 100


def write(report: Report, *, file: TextIO | None = None, width: int | None = None) -> None:
    """Write the blocks of a report in order; neighbouring figures stand in one table."""
    console = Console(file=file, width=width, highlight=False, emoji=False)
    console.print(Line(printable(report.title), style="bold underline" if console.is_terminal else "bold"))
    for kind, blocks in itertools.groupby(report.blocks, key=type):
        console.print()
        if kind is Figure:
            _figures(console, list(blocks))  # type: ignore[arg-type]
        else:
            for number_, block in enumerate(blocks):
                if number_:
                    console.print()
                _SHOW[kind](console, block)
    if report.facts:
        console.print()
        _facts(console, report.facts)


def _figures(console: Console, figures: list[Figure]) -> None:
    if console.width < NARROW:
        for f in figures:
            console.print(Line.assemble((f"{printable(f.name)}: ", ""), (_value(f), "bold"), " ", (interval(f), "dim")))
            if f.note:
                console.print(Line(f"  {printable(f.note)}", style="dim"))
        return
    grid = Grid(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for justify in ("left", "right", "left", "left"):
        grid.add_column(justify=justify, overflow="fold")  # type: ignore[arg-type]
    for f in figures:
        said = " · ".join(t for t in (f"over {f.count:,}" if f.count else "", printable(f.note)) if t)
        grid.add_row(escape(printable(f.name)), Line(_value(f), "bold"), Line(interval(f)), Line(said, "dim"))
    console.print(grid)


def _value(figure: Figure) -> str:
    return number(figure.value) + (f" {printable(figure.unit)}" if figure.unit else "")


def _table(console: Console, table: Table) -> None:
    if table.title:
        console.print(Line(printable(table.title), style="bold"))
    if not table.rows:
        console.print(Line("(none)", style="dim"))
    elif console.width < NARROW and len(table.columns) > 2:
        _records(console, table)
    else:
        from rich.box import SIMPLE_HEAD

        grid = Grid(box=SIMPLE_HEAD, pad_edge=False, header_style="dim", padding=(0, 1), show_edge=False)
        numbers = [all(is_number(row[i]) or row[i] is None for row in table.rows) for i in range(len(table.columns))]
        folded = _width(table) > console.width
        widths = _widths(table, numbers, console.width) if folded else [None] * len(numbers)
        for column, right, width in zip(table.columns, numbers, widths, strict=True):
            justify: Any = "right" if right else "left"
            grid.add_column(
                escape(printable(column)), justify=justify, no_wrap=not folded, overflow="fold", width=width
            )
        for row in table.rows:
            cells = [_styled(value, column) for value, column in zip(row, table.columns, strict=True)]
            grid.add_row(*(_folded(c, v) if folded else c for c, v in zip(cells, row, strict=True)))
        console.print(grid)
    if table.note:
        console.print(Line(printable(table.note), style="dim"))


def _widths(table: Table, numbers: Sequence[bool], width: int) -> list[int]:
    """Characters a column, where a row has to be folded: numbers stay whole, and words as far as there is room.

    What is left goes, one by one, to the column that is folded most.
    """
    texts = [
        [printable(column), *(_folded(_styled(row[i], column), row[i]).plain for row in table.rows)]
        for i, column in enumerate(table.columns)
    ]
    wanted = [max(len(line) for text in column for line in text.split("\n")) for column in texts]
    words = [max((len(word) for text in column for word in text.split()), default=1) for column in texts]
    left = width - BETWEEN * (len(texts) - 1)
    room = LONGEST_WORD
    while True:
        # What a row is about stays whole the longest.
        rooms = [LONGEST_WORD if i == 0 and room > TIGHT else room for i in range(len(texts))]
        columns = zip(wanted, words, rooms, numbers, strict=True)
        widths = [most if whole else min(word, least) for most, word, least, whole in columns]
        if sum(widths) <= left or room == SHORTEST_WORD:
            break
        room -= 1
    for _ in range(left - sum(widths)):
        most = max(range(len(widths)), key=lambda i: wanted[i] / widths[i])
        widths[most] += wanted[most] > widths[most]
    return widths


def _width(table: Table) -> int:
    """Characters of the widest row with nothing folded."""
    columns = zip(table.columns, zip(*table.rows, strict=True), strict=True)
    return sum(3 + max(len(column), *(len(_shown(value, column)) for value in values)) for column, values in columns)


def _folded(shown: Line, value: Any) -> Line:
    """An interval below its number, where the two do not fit beside each other; words that can be folded."""
    text = shown.plain.replace(" [", "\n[") if is_number(value) else _parted(shown.plain)
    return Line(text, style=shown.style)


def _parted(words: str) -> str:
    """Long words with room to be folded at: `objective= triplet(margin=0.3)`."""
    return " ".join(
        w if len(w) <= WORD_IN_PARTS else w.replace("=", "= ", 1).replace("(", " (") for w in words.split(" ")
    )


def _records(console: Console, table: Table) -> None:
    """A table of many columns on a narrow terminal: each row is a small list of its own."""
    for row in table.rows:
        console.print(Line(_shown(row[0], table.columns[0]), style="bold"))
        for value, column in zip(row[1:], table.columns[1:], strict=True):
            if _shown(value, column) not in ("", MISSING):
                console.print(
                    Padding(Line.assemble((f"{printable(column)}: ", "dim"), _styled(value, column)), (0, 0, 0, 2))
                )


def _shown(value: Any, column: str) -> str:
    return printable(cell(value, signed=is_difference(column)))


def _styled(value: Any, column: str) -> Line:
    text = _shown(value, column)
    style = next((s for start, s in VERDICTS if text.startswith(start)), "")
    return Line(text, style=style)


def _picture(console: Console, picture: Picture) -> None:
    console.print(Line(printable(picture.title), style="bold"))
    console.print(Line(printable(picture.caption)))


def _examples(console: Console, examples: Examples) -> None:
    console.print(Line(printable(examples.title), style="bold"))
    for example in examples.items[:SHOWN_EXAMPLES]:
        if example.why:
            console.print(Padding(Line(printable(example.why)), (0, 0, 0, 2)))
        console.print(Padding(Line(" | ".join(_named(example)), style="dim"), (0, 0, 0, 4)))
    if len(examples.items) > SHOWN_EXAMPLES:
        console.print(Line(f"  and {len(examples.items) - SHOWN_EXAMPLES:,} more", style="dim"))


def _finding(console: Console, finding: Finding) -> None:
    f = finding.figure
    said = " · ".join(t for t in (interval(f), f"over {f.count:,}" if f.count else "", printable(f.note)) if t)
    console.print(Line.assemble((printable(f.name), "bold red"), "  ", (_value(f), "bold"), " ", (said, "dim")))
    console.print(Padding(Line(printable(finding.said)), (0, 0, 0, 2)))
    for example in finding.examples[:SHOWN_IN_FINDING]:
        names = _named(example)
        more = len(names) - SHOWN_IN_FINDING
        line = " | ".join(names[:SHOWN_IN_FINDING]) + (f" and {more} more" if more > 0 else "")
        console.print(Padding(Line(f"{printable(example.why)}: {line}" if example.why else line, "dim"), (0, 0, 0, 4)))
    if finding.mend:
        console.print(Padding(Line(printable(finding.mend), "cyan"), (0, 0, 0, 2)))


def _named(example: Example) -> list[str]:
    scores = [f" ({number(s)})" for s in example.scores] or [""] * len(example.ids)
    named = itertools.zip_longest(example.names or example.ids, scores, fillvalue="")
    return [f"{textwrap.shorten(printable(name), MOST_NAME, placeholder=' …')}{score}" for name, score in named]


def _text(console: Console, text: Text) -> None:
    if text.kind == "code":
        console.print(Line(printable(text.text)), soft_wrap=console.width >= NARROW)
    else:
        console.print(Line(printable(text.text), style=STYLES.get(text.kind, "")))


def _facts(console: Console, facts: dict[str, Any]) -> None:
    grid = Grid(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        text = printable(cell(value))
        if isinstance(value, Mapping) and len(text) > MOST_FACT:
            continue  # it stands in the JSON report and in the manifest
        grid.add_row(escape(printable(name)), Line(text if len(text) <= MOST_FACT else text[: MOST_FACT - 1] + "…"))
    console.print(grid)


_SHOW: dict[type, Any] = {Table: _table, Finding: _finding, Picture: _picture, Examples: _examples, Text: _text}
