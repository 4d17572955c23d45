"""`tellapart mine`: hard negatives of a run, each with the rule that kept or dropped it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def mine(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")] = Path("runs/latest"),
    out: Annotated[Path | None, typer.Option("--out", help="Training rows for others, .parquet or .jsonl.")] = None,
    form: Annotated[
        Literal["triplet", "n-tuple", "labeled-pair"], typer.Option("--form", help="How those rows are laid out.")
    ] = "triplet",
    part: Annotated[str, typer.Option("--part", help="Part of the split.")] = "train",
    depth: Annotated[int, typer.Option("--depth", help="Candidates a query.")] = 100,
    keep: Annotated[int, typer.Option("--keep", help="Negatives a query.")] = 10,
    margin: Annotated[float, typer.Option("--margin", help="How far below the weakest positive, as a share.")] = 0.05,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Mine hard negatives with a run's model and say why each was kept or dropped."""
    import numpy as np

    from tellapart.cli._say import out as say
    from tellapart.cli._say import show, stages
    from tellapart.engine import mine as engine
    from tellapart.engine.evaluate import Relevant
    from tellapart.runs import Run

    with stages() as shown:
        opened = Run(run, stages=shown)
        collection, rows = opened.collection, opened.rows(part)
        sides, kept = collection.sides(), opened.collection.take(rows)
        target = kept.codes(sides.target)[0] if sides.target else np.arange(len(rows))
        positives = Relevant.by_target(target, target)
        ids = kept.ids if sides.same_space else None
        groups = kept.numbers("group") if "group" in kept.columns else None
        with shown.stage("mine") as told:
            table = engine.mine(
                opened.vectors["query"][rows], opened.vectors["document"][rows], query_ids=ids, document_ids=ids,
                query_groups=groups, document_groups=groups, positives=positives, depth=depth, keep=keep,
                margin=margin, folder=run / "mined", progress=told,
            )  # fmt: skip
    show(engine.summary(table), as_json=json)
    if out is not None:
        anchors, documents = kept[sides.query.column], kept[sides.document.column]
        count = engine.write(table, out, anchors, documents, positives, form=form, negatives=keep)
        say(f"{count:,} rows: {out}")
