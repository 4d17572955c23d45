"""`tellapart index`: another index for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def index(
    part: Annotated[str, typer.Argument(help="An index part, such as exact or 'hnsw(width=64)'.")],
    run: Annotated[Path, typer.Option("--run", help="The folder of a run.")] = Path("runs/latest"),
    out: Annotated[Path | None, typer.Option("--out", help="Another folder than the run's own index.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Build the index of a run anew, with its recall against the exact search."""
    from tellapart.cli._say import show, stages
    from tellapart.engine.indexing import build
    from tellapart.runs import Run

    with stages() as shown:
        opened = Run(run, stages=shown)
        with opened.searched() as (ids, z), shown.stage("build the index") as told:
            _, report = build(part, ids, z, out or run / "index", progress=told)
    show(report, as_json=json)
