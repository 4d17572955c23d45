"""`tellapart monitor`: whether what is asked still scores as what the calibration was fitted on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def monitor(
    run: Annotated[Path, typer.Argument(help="The folder of a run that is, or was, served.")] = Path("runs/latest"),
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page as well.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say whether served queries score as held-out ones did, so that probabilities still hold."""
    from tellapart.cli._say import save_page, show
    from tellapart.engine.monitor import monitored

    report = monitored(run)
    show(report, as_json=json)
    save_page(report, html, None)
