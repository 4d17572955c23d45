"""`tellapart evaluate`: the figures of a run on held-out items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli import _on


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")] = Path("runs/latest"),
    part: Annotated[str, typer.Option("--part", help="Part of the split: test, validation or train.")] = "test",
    on: _on.Place = "here",
    ray_address: _on.Address = "",
    workers: _on.Workers = 0,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Measure a run on held-out items, with intervals, ties and near twins."""
    from tellapart import runs
    from tellapart.cli._say import show, stages

    with stages() as shown, _on.on(on, ray_address, workers):
        report = runs.evaluate(run, part=part, stages=shown)
    show(report, as_json=json)
