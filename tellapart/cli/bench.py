"""`tellapart bench`: a leaderboard of one's own models over one's own tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    tasks: Annotated[list[str], typer.Argument(help="TOML files of tasks, or folders of them.")],
    model: Annotated[
        list[str], typer.Option("--model", help="A run, a model folder, or an encoder such as minilm; again for more.")
    ],
    shrink: Annotated[
        int, typer.Option("--shrink", help="Name the tasks that the others make needless, until so many are left.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="A JSON file for all scores.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page as well.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Rank models of one's own over tasks of one's own, and say which tasks would suffice."""
    from tellapart.benching import bench as benched
    from tellapart.cli import _say

    with _say.stages() as shown:
        report = benched(tasks, model, least=shrink, seed=seed, out=out, stages=shown)
    _say.show(report, as_json=json)
    _say.save_page(report, html, None)
