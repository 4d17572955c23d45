"""What every verb shows in the same way: reports, JSON, plain lines and progress."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tellapart.core.errors import TellapartError
from tellapart.core.progress import Progress as Advance
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Report

if TYPE_CHECKING:
    from tellapart.core.collection import Collection


def out(text: str) -> None:
    """A line on standard output."""
    typer.echo(text)


def show(report: Report, *, as_json: bool = False) -> None:
    """A report on the terminal, or as JSON."""
    from tellapart import render

    if as_json:
        typer.echo(render.json(report), nl=False)
    else:
        render.terminal(report)


def data(value: Any) -> None:
    """Any value as strict JSON."""
    from tellapart.render.values import dumps

    typer.echo(dumps(value), nl=False)


@contextmanager
def stages() -> Iterator[Stages]:
    """Bars on standard error, one a stage; where that is no terminal, only what is said between stages."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bars(bars)


class _Lines(Silence):
    def say(self, text: str) -> None:
        typer.echo(text, err=True)


class _Bars(Stages):
    def __init__(self, bars: Any) -> None:
        self.bars = bars

    @contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        task = self.bars.add_task(name, total=None)
        yield lambda done, total: self.bars.update(task, completed=done, total=total)
        self.bars.remove_task(task)

    def say(self, text: str) -> None:
        from rich.text import Text

        self.bars.console.print(Text(text))


def roles(pairs: list[str] | None) -> dict[str, str] | None:
    """`["text=comment"]` -> `{"text": "comment"}`; None where nothing is given."""
    found = {}
    for pair in pairs or []:
        role, sign, name = pair.partition("=")
        if not sign:
            raise TellapartError(f"write --column as role=column, not {pair!r}")
        found[role.strip()] = name.strip()
    return found or None


def save_page(report: Report, file: Path | None, collection: Path | Collection | None) -> None:
    """The report as a page, with the pictures of a collection, which may be saved; nothing where no file is named."""
    if file is None:
        return
    from tellapart import render
    from tellapart.core.collection import Collection
    from tellapart.core.files import write_atomically

    held = Collection.open(collection) if isinstance(collection, Path) else collection
    write_atomically(file, render.html(report, held).encode())
    typer.echo(f"the page: {file}", err=True)
