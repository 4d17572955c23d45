"""`tellapart run`: from a folder to a searched page."""

from __future__ import annotations

import os
import shlex
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli import _on


def run(
    path: Annotated[str, typer.Argument(help="A folder, a file, shards, or the name openmoji.")],
    out: Annotated[Path, typer.Option("--out", help="The run folder.")] = Path("runs/latest"),
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", help="A recipe file; without: tried and chosen."),
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="field=value of the recipe; again for more.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="role=column, such as text=comment; again for more.")
    ] = None,
    marks: Annotated[
        Path | None,
        typer.Option("--marks", help="Pairs called the same or different; by default those in --out."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of split and training.")] = None,
    on: _on.Place = "here",
    ray_address: _on.Address = "",
    workers: _on.Workers = 0,
    json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Read, curate, split, embed, train, measure, index and report."""
    from tellapart.cli import _say
    from tellapart.recipe import PLAIN, Recipe
    from tellapart.run import run as everything

    made = Recipe.from_toml(recipe) if recipe else PLAIN if change else None
    for assignment in change or []:
        made = (made or PLAIN).changed_by(assignment)
    with _say.stages() as stages, _on.on(on, ray_address, workers):
        report = everything(
            path, out=out, recipe=made, seed=seed, columns=_say.roles(column), marks=marks, stages=stages
        )
    if int(os.environ.get("RANK", "0")) > 0:
        return
    _say.show(report, as_json=json)
    if not json:
        where = "" if out == Path("runs/latest") else f" --run {out}"
        _say.out(f"\nThe report: {out / 'report.html'}")
        _say.out(f"Search it:  tellapart search {_example(out)}{where}")
        _say.out(f"The page:   tellapart serve{where}")


def _example(out: Path) -> str:
    """What somebody could look for in the collection of a run: the words of an item, or a file."""
    from tellapart.core.collection import Collection

    collection = Collection.open(out / "collection")
    side = collection.sides().query
    if side.modality != "text":
        return "--image PICTURE" if side.modality == "image" else "--series WINDOW.npy"
    some = collection[side.column].slice(len(collection) // 2, 100).to_pylist()
    return shlex.quote(next((s for w in some if (s := textwrap.shorten(str(w or ""), 40, placeholder=""))), "words"))
