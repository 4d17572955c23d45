"""`tellapart mine`: hard negatives of a run, each with the rule that kept or dropped it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def mine(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")] = Path("runs/latest"),
    out: Annotated[Path | None, typer.Option("--out", help="Training rows for others, .parquet or .jsonl.")] = None,
    form: Annotated[
        Literal["triplet", "n-tuple", "labeled-pair"], typer.Option("--form", help="How those rows are laid out.")
    ] = "triplet",
    part: Annotated[str, typer.Option("--part", help="Part of the split.")] = "train",
    depth: Annotated[int, typer.Option("--depth", help="Candidates a query.")] = 100,
    keep: Annotated[int, typer.Option("--keep", help="Negatives a query.")] = 10,
    margin: Annotated[float, typer.Option("--margin", help="How far below the weakest positive, as a share.")] = 0.05,
    index: Annotated[
        str, typer.Option("--index", help='For large collections, search through a part such as "ivf(probe=64)".')
    ] = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="Open a page with the borderline pairs, to mark what they really are.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Mine hard negatives with a run's model and say why each was kept or dropped."""
    from tellapart.cli import _say
    from tellapart.engine.mine import summary
    from tellapart.mining import mine_run

    with _say.stages() as stages:
        found = mine_run(run, part=part, depth=depth, keep=keep, margin=margin, index=index, stages=stages)
    _say.show(summary(found.table), as_json=json)
    if out is not None:
        _say.out(f"{found.write(out, form=form, negatives=keep):,} rows: {out}")
    if explain:
        from tellapart.cli.serve import serve_page

        serve_page(run, view="borderline", open=True)
