"""`tellapart mine`: hard negatives of a run, each with the rule that kept or dropped it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tellapart.cli import _on


def mine(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")] = Path("runs/latest"),
    source: Annotated[
        str, typer.Argument(help="Another collection to mine with its model; empty: the run's own.", show_default=False)
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Training rows for others, .parquet or .jsonl.")] = None,
    reasons: Annotated[
        Path | None,
        typer.Option("--reasons", help="All candidates with score, rank, rule and opinions, .parquet or .jsonl."),
    ] = None,
    form: Annotated[
        Literal["triplet", "n-tuple", "labeled-pair"], typer.Option("--form", help="How those rows are laid out.")
    ] = "triplet",
    part: Annotated[str, typer.Option("--part", help="Part of the split.")] = "train",
    depth: Annotated[int, typer.Option("--depth", help="Candidates a query.")] = 100,
    keep: Annotated[int, typer.Option("--keep", help="Negatives a query.")] = 10,
    margin: Annotated[float, typer.Option("--margin", help="How far below the weakest positive, as a share.")] = 0.05,
    index: Annotated[
        str,
        typer.Option("--index", help='How the nearest are looked for: auto, exact, or a part such as "ivf(probe=64)".'),
    ] = "auto",
    guide: Annotated[
        str,
        typer.Option("--guide", help="Drop what this finds nearer than a positive: another run, or an encoder."),
    ] = "",
    check: Annotated[
        str, typer.Option("--check", help="Ask the cross-encoder in this folder about those that would be kept.")
    ] = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="Open a page with the borderline pairs, to mark what they really are.")
    ] = False,
    on: _on.Place = "here",
    ray_address: _on.Address = "",
    workers: _on.Workers = 0,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Mine hard negatives with a run's model and say why each was kept or dropped."""
    from tellapart.cli import _say
    from tellapart.mining import mine_run

    with _say.stages() as stages, _on.on(on, ray_address, workers):
        options = {"depth": depth, "keep": keep, "margin": margin, "index": index, "guide": guide, "check": check}
        found = mine_run(run, source or None, part=part, **options, stages=stages)
    _say.show(found.report(), as_json=json)
    if out is not None:
        _say.out(f"{found.write(out, form=form, negatives=keep):,} rows: {out}")
    if reasons is not None:
        _say.out(f"{found.write_reasons(reasons):,} candidates: {reasons}")
    if explain:
        from tellapart.cli.serve import serve_page

        serve_page(run, view="borderline", open=True)
