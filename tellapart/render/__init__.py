"""A `Report` shown: on the terminal, as strict JSON, as one HTML file that needs nothing beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tellapart.core.collection import Collection
    from tellapart.core.report import Report


def terminal(report: Report, *, file: TextIO | None = None, width: int | None = None) -> None:
    """Write a report to a terminal, in colours where it is one.

    Args:
        file: where to; None: standard output.
        width: characters in a line; None: as wide as the terminal is.
    """
    from tellapart.render.screen import write

    write(report, file=file, width=width)


def html(report: Report, collection: Collection | None = None) -> str:
    """One HTML page with everything in it: style, drawings, and small copies of the pictures that examples show.

    Args:
        collection: where the items of the examples are looked up; None: they are shown by id.
    """
    from tellapart.render.page import page

    return page(report, collection)


def json(report: Report) -> str:
    """The report as strict JSON: a number that is not finite becomes null, numpy values become plain ones."""
    from tellapart.render.values import dumps

    return dumps(report.to_dict())


def plain(value: Any) -> Any:
    """Any value of reports and manifests as plain data that strict JSON takes."""
    from tellapart.render.values import plain as made

    return made(value)
