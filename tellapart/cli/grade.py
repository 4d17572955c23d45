"""`tellapart grade`: grades for items that have none, learnt from those that have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def grade(
    source: Annotated[str, typer.Argument(help="What run takes, or the folder of a run.")],
    by: Annotated[str, typer.Option("--by", help="The column of grades: numbers, higher is better, empty for none.")],
    part: Annotated[
        str, typer.Option("--part", help="ridge-grades, q-eval, compare2score(anchors=20), or one's own.")
    ] = "ridge-grades",
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="What is looked at, image or else text; twice for how two columns fit."),
    ] = None,
    encoder: Annotated[
        list[str] | None, typer.Option("--encoder", help="A frozen encoder in place of the usual; again for more.")
    ] = None,
    new: Annotated[str, typer.Option("--new", help="Another collection whose items are to be graded.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="A .jsonl, .csv or .parquet file: all items with their estimates.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="The column of estimates; left out: BY_estimated.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Of the parts that are held out.")] = 0,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page as well.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Learn a column of grades, say how well on held-out items, and grade the items that have none."""
    from tellapart.cli._say import save_page, show, stages
    from tellapart.grading import graded

    with stages() as shown:
        report, collection = graded(
            source, by=by, part=part, columns=column or (), encoders=encoder or (), new=new or None, out=out,
            name=name, seed=seed, stages=shown,
        )  # fmt: skip
    show(report, as_json=json)
    save_page(report, html, collection)
