"""`tellapart detect`: which items are like nothing a run holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def detect(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    source: Annotated[str, typer.Argument(help="The new collection: what run takes.")],
    score: Annotated[
        str, typer.Option("--score", help="knn, mahalanobis-ood, hvcm, energy, anovl, or one's own; knn if none.")
    ] = "",
    by: Annotated[str, typer.Option("--by", help="The run's column of labels, where the score needs them.")] = "",
    names: Annotated[
        str, typer.Option("--names", help='What is known by names alone, "cat,dog": finds what is none of these.')
    ] = "",
    false_alarms: Annotated[
        float, typer.Option("--false-alarms", help="Share of known items that may be stopped.")
    ] = 0.05,
    out: Annotated[Path | None, typer.Option("--out", help="A .jsonl, .csv or .parquet file for all scores.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page as well.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Find the items of a collection that are like nothing a run holds."""
    from tellapart import apply
    from tellapart.cli._say import save_page, show, stages

    with stages() as shown:
        report = apply.detect(
            run, source, score=score, by=by, names=names, false_alarms=false_alarms, out=out, stages=shown
        )
    show(report, as_json=json)
    save_page(report, html, None)
