"""`tellapart why`: where a figure came from and how to have it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def why(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")] = Path("runs/latest"),
    figure: Annotated[str, typer.Argument(help="Name of a figure, or part of it.")] = "",
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say which data, recipe, seed and versions made a figure, and how to run it again."""
    from tellapart import runs
    from tellapart.cli._say import show

    show(runs.why(run, figure), as_json=json)
