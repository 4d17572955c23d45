"""`tellapart merge`: several runs of one start as one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs over one collection and one seed.")],
    out: Annotated[Path, typer.Option("--out", help="The folder of the merged run.")],
    part: Annotated[str, typer.Option("--part", help="A merge part.")] = "model-soups",
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Merge the models of several runs; the validation items choose which."""
    from tellapart import merging
    from tellapart.cli._say import show, stages

    with stages() as shown:
        report = merging.merge(runs, out, part=part, stages=shown)
    show(report, as_json=json)
