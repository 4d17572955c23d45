"""`tellapart topics`: items of a run sorted by topics that are named by keywords."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def topics(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")] = Path("runs/latest"),
    topic: Annotated[
        list[str] | None, typer.Option("--topic", help="NAME=WORD,WORD …; repeat it for every topic.")
    ] = None,
    part: Annotated[str, typer.Option("--part", help="What learns a topic from words and items.")] = "lbl2vec",
    out: Annotated[
        Path | None, typer.Option("--out", help="A .jsonl, .csv or .parquet file for every item's topic.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page as well.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Sort items by topics named by a few words each; no labels are needed."""
    from tellapart.cli._say import save_page, show, stages
    from tellapart.topics import parse
    from tellapart.topics import topics as sort

    with stages() as shown:
        report = sort(run, of=parse(topic or []), part=part, out=out, stages=shown)
    show(report, as_json=json)
    save_page(report, html, run / "collection")
