"""`tellapart upgrade`: another encoder for a run, without embedding everything again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def upgrade(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")] = Path("runs/latest"),
    to: Annotated[
        str, typer.Option("--to", help="A run folder with the new model, or an encoder where one is enough.")
    ] = "",
    part: Annotated[str, typer.Option("--with", help="An align part; without: the best on validation items.")] = "",
    share: Annotated[float, typer.Option("--share", help="Of the training items, embedded anew to fit on.")] = 0.1,
    check: Annotated[bool, typer.Option("--check", help="Report what it would find, and change nothing.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Although it finds less, or leaves items behind.")] = False,
    backfill: Annotated[
        int | None, typer.Option("--backfill", help="Embed so many documents of an upgraded run anew.")
    ] = None,
    first: Annotated[
        Path | None, typer.Option("--first", help="Ids, one a line, to backfill first, such as those used most.")
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="Take the last upgrade or backfill back.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Delete the versions that are kept.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn and trained.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Let another encoder search the vectors that a run has stored; back again in one step."""
    from tellapart import upgrading
    from tellapart.cli._say import show, stages
    from tellapart.core.errors import TellapartError

    if sum((bool(to), backfill is not None, back, forget)) != 1:
        raise TellapartError("say one thing to do: --to RUN, --backfill N, --back or --forget")
    with stages() as shown:
        if to:
            report = upgrading.upgrade(
                run, to, part=part, share=share, check=check, anyway=anyway, seed=seed, stages=shown
            )
        elif backfill is not None:
            report = upgrading.backfill(run, backfill, first=first, seed=seed, stages=shown)
        elif back:
            report = upgrading.back(run, anyway=anyway)
        else:
            report = upgrading.forget(run)
    show(report, as_json=json)
