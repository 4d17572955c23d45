"""`tellapart classify`: how well a column of labels can be told from the items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def classify(
    source: Annotated[str, typer.Argument(help="The folder of a run, or what run takes.")],
    by: Annotated[str, typer.Option("--by", help="The column of labels.")],
    part: Annotated[str, typer.Option("--part", help="A classifier, such as logistic-regression(c=0.1).")] = "clip-gda",
    column: Annotated[str, typer.Option("--column", help="What is embedded; left out: image, or else text.")] = "",
    encoder: Annotated[
        str, typer.Option("--encoder", help="A frozen encoder; left out: lite0, rocket or minilm.")
    ] = "",
    seed: Annotated[int, typer.Option("--seed", help="Of the split.")] = 0,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page as well.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Fit a classifier of a column and measure it on items held out by duplicate group."""
    from tellapart import apply
    from tellapart.cli._say import save_page, show, stages

    with stages() as shown:
        report = apply.classify(source, by=by, part=part, column=column, encoder=encoder, seed=seed, stages=shown)
    show(report, as_json=json)
    save_page(report, html, None)
