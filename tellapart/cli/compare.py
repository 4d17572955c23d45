"""`tellapart compare`: which published methods help on these data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    path: Annotated[str, typer.Argument(help="What to read: see tellapart run.")],
    tries: Annotated[
        list[str],
        typer.Option("--try", help="field=value, or 'a=b + c=d'; again for more."),
    ],
    base: Annotated[Path | None, typer.Option("--base", help="The recipe to compare with (TOML).")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="field=value of the base recipe.")] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="role=column, such as text=comment; again for more.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="How many splits and seeds.")] = 5,
    figure: Annotated[str, typer.Option("--figure", help="R@1, R@10 or nDCG@10.")] = "nDCG@10",
    out: Annotated[Path, typer.Option("--out", help="Where results are kept.")] = Path("runs/compare"),
    write: Annotated[Path | None, typer.Option("--write", help="Write the winner as a recipe file.")] = None,
    marks: Annotated[
        Path | None, typer.Option("--marks", help="Pairs called the same or different, see tellapart serve.")
    ] = None,
    all_seeds: Annotated[bool, typer.Option("--all-seeds", help="Stop no variant early.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Compare variants of a recipe on the same splits and seeds, with intervals and verdicts."""
    from tellapart.cli import _say
    from tellapart.compare import compare as compared
    from tellapart.compare import winner
    from tellapart.core.errors import TellapartError
    from tellapart.core.files import write_atomically
    from tellapart.recipe import PLAIN, Recipe

    if figure not in ("R@1", "R@10", "nDCG@10"):
        raise TellapartError(f"--figure is R@1, R@10 or nDCG@10, not {figure!r}")
    recipe = Recipe.from_toml(base) if base else PLAIN
    for assignment in change or []:
        recipe = recipe.changed_by(assignment)
    with _say.stages() as stages:
        report = compared(
            path,
            tries=tries,
            base=recipe,
            seeds=seeds,
            figure=figure,
            columns=_say.roles(column),
            out=out,
            stop_early=not all_seeds,
            marks=marks,
            stages=stages,
        )
    _say.show(report, as_json=json)
    if write is not None:
        write_atomically(write, winner(report).to_toml().encode())
    if not json:
        _say.out(f"\nThe table, drawn: {out / 'report.html'}")
        if write is not None:
            _say.out(f"The winner:       {write}")
