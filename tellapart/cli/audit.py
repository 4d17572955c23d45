"""`tellapart audit`: what a run gets wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def audit(
    part: Annotated[str, typer.Argument(help="An audit part, such as mmvp or 'mmvp(pairs=50)'.")],
    run: Annotated[Path, typer.Option("--run", help="The folder of a run.")] = Path("runs/latest"),
    other: Annotated[str, typer.Option("--other", help="A second encoder, where the part compares two.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Of what the part draws.")] = 0,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page as well.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Run an audit part over a run: what it gets wrong, measured."""
    from tellapart import runs
    from tellapart.cli._say import save_page, show, stages

    with stages() as shown:
        report = runs.audit(part, run, other=other, seed=seed, stages=shown)
    show(report, as_json=json)
    save_page(report, html, run / "collection")
