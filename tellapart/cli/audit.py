"""`tellapart audit`: what a model cannot tell apart, and what would mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def audit(
    model: Annotated[
        str, typer.Argument(help="The folder of a run or of a model, or the spec of an encoder such as lite0.")
    ] = "runs/latest",
    data: Annotated[str, typer.Argument(help="A collection, as run takes it; without: that of the run.")] = "",
    part: Annotated[
        list[str] | None, typer.Option("--part", help="Only this part, such as 'mmvp(pairs=50)'; again for more.")
    ] = None,
    other: Annotated[str, typer.Option("--other", help="A second encoder, where a part compares two.")] = "",
    against: Annotated[
        str, typer.Option("--against", help="Another model: every finding of both, compared item by item.")
    ] = "",
    gate: Annotated[
        Path | None, typer.Option("--gate", help="A TOML file of what has to hold; exit code 1 where it does not.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what the parts draw.")] = 0,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="role=column, such as text=comment; again for more.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Where the page goes; without: audit.html in the run folder, or here.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Ask what a model gets wrong, part by part, and say together what is clear."""
    from tellapart.auditing import examined, summary
    from tellapart.cli import _say

    with _say.stages() as shown:
        report, collection = examined(
            model, data or None, parts=part or (), other=other, against=against, gate=gate, seed=seed,
            columns=_say.roles(column), stages=shown,
        )  # fmt: skip
    _say.show(report if json or part else summary(report), as_json=json)
    folder = Path(model) if (Path(model) / "collection").is_dir() else Path()
    _say.save_page(report, html or folder / "audit.html", collection)
    if report.facts.get("failed"):
        raise typer.Exit(1)
