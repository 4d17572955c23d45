"""`tellapart link`: which records of two tables, or of one, are the same thing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def link(
    a: Annotated[str, typer.Argument(help="A table with text, pictures or both: what run takes.")],
    b: Annotated[str | None, typer.Argument(help="The other table; left out: A among itself.")] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="A run whose model makes the vectors; else frozen encoders.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Known pairs: a file with a, b and, if some are none, match.")
    ] = None,
    threshold: Annotated[float | None, typer.Option("--threshold", help="The least cosine of a link.")] = None,
    precision: Annotated[
        float, typer.Option("--precision", help="The share of right links that a threshold is chosen for on --labels.")
    ] = 0.95,
    one_to_one: Annotated[bool, typer.Option("--one-to-one", help="A record is in one link at most.")] = False,
    candidates: Annotated[int, typer.Option("--candidates", help="How many are looked at for each record.")] = 10,
    index: Annotated[str, typer.Option("--index", help="What finds them.")] = "exact",
    text: Annotated[str, typer.Option("--text", help="Without a run: the encoder of texts.")] = "minilm",
    image: Annotated[str, typer.Option("--image", help="Without a run: the encoder of pictures.")] = "lite0",
    column: Annotated[
        list[str] | None, typer.Option("--column", help="role=column of both tables, such as text=name; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A .csv, .jsonl or .parquet file for the links.")] = None,
    clusters: Annotated[
        Path | None, typer.Option("--clusters", help="With one table: such a file for every record's cluster.")
    ] = None,
    learn: Annotated[
        str | None, typer.Option("--learn", help="Learn on the rows themselves first, by table-integration.")
    ] = None,
    communities: Annotated[
        str | None, typer.Option("--communities", help="Clusters by louvain or label-propagation.")
    ] = None,
    merged: Annotated[
        Path | None, typer.Option("--merged", help="With one table: such a file of one row for each cluster.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page as well.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say which records of two tables, or of one, are the same thing."""
    from tellapart.cli._say import roles, show, stages
    from tellapart.linking import link as find

    with stages() as shown:
        found = find(
            a, b, run=run, labels=labels, threshold=threshold, precision=precision, one_to_one=one_to_one,
            k=candidates, index=index, text=text, image=image, columns=roles(column), out=out, clusters=clusters,
            learn=learn, communities=communities, merged=merged, stages=shown,
        )  # fmt: skip
    show(found.report, as_json=json)
    if html is not None:
        from tellapart import render
        from tellapart.core.files import write_atomically

        write_atomically(html, render.html(found.report, found.shown).encode())
        typer.echo(f"the page: {html}", err=True)
