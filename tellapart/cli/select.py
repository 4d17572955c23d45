"""`tellapart select`: which items of a pool serve a target, or which few stand for a labelled collection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def select(
    source: Annotated[str, typer.Argument(help="The pool: what run takes.")],
    like: Annotated[str, typer.Option("--like", help="A collection of what is wanted.")] = "",
    keep: Annotated[str, typer.Option("--keep", help="How many: a number, or a share such as 20%.")] = "20%",
    score: Annotated[str, typer.Option("--score", help="What selects: dsir with --like, else coverage, or dcc.")] = "",
    column: Annotated[
        str, typer.Option("--column", help="The column to go by; left out: text, or else anchor, or all sides.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="A .jsonl, .csv or .parquet file; for made pictures a new folder.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Pick the items of a pool that are most like a target, or without --like a few that stand for all."""
    from tellapart import apply, condensing
    from tellapart.cli._say import show, stages
    from tellapart.core.errors import TellapartError
    from tellapart.core.parts import card_of, parse_spec

    score = score or ("dsir" if like else "coverage")
    condenses = card_of(None, parse_spec(score)[0]).shape == "condense"
    if condenses and like:
        raise TellapartError(f"{score} stands for the collection itself: leave out --like")
    if not condenses and not like:
        raise TellapartError(f"{score} looks for what is like a target: name it with --like")
    with stages() as shown:
        if condenses:
            report = condensing.condense(source, keep=keep, part=score, column=column, out=out, seed=seed, stages=shown)
        else:
            report = apply.select(
                source, like=like, keep=keep, score=score, column=column, out=out, seed=seed, stages=shown
            )
    show(report, as_json=json)
