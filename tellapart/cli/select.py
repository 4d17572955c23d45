"""`tellapart select`: which items of a pool serve a target."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def select(
    source: Annotated[str, typer.Argument(help="The pool: what run takes.")],
    like: Annotated[str, typer.Option("--like", help="A collection of what is wanted.")],
    keep: Annotated[str, typer.Option("--keep", help="How many: a number, or a share such as 20%.")] = "20%",
    score: Annotated[str, typer.Option("--score", help="What selects.")] = "dsir",
    column: Annotated[
        str, typer.Option("--column", help="The column of both to go by; left out: text, or else anchor, or all sides.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="A .jsonl, .csv or .parquet file for the selection.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Pick the items of a pool that are most like a target."""
    from tellapart import apply
    from tellapart.cli._say import show, stages

    with stages() as shown:
        report = apply.select(
            source, like=like, keep=keep, score=score, column=column, out=out, seed=seed, stages=shown
        )
    show(report, as_json=json)
