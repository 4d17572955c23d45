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
    index: Annotated[
        str, typer.Option("--index", help='For large collections, search through a part such as "ivf(probe=64)".')
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Mine hard negatives with a run's model and say why each was kept or dropped."""
    import numpy as np

    from tellapart.cli._say import out as say
    from tellapart.cli._say import show, stages
    from tellapart.core.parts import make
    from tellapart.data.marks import FILE as MARKS
    from tellapart.data.marks import read_marks
    from tellapart.engine import mine as engine
    from tellapart.engine.evaluate import Relevant
    from tellapart.runs import Run

    with stages() as shown:
        opened = Run(run, stages=shown)
        collection, rows = opened.collection, opened.rows(part)
        sides, kept = collection.sides(), opened.collection.take(rows)
        target = kept.codes(sides.target)[0] if sides.target else np.arange(len(rows))
        positives = Relevant.by_target(target, target)
        groups = kept.numbers("group") if "group" in kept.columns else None
        q, k = (opened.vectors[side][rows] for side in ("query", "document"))
        through = make("index", index) if index else None
        if through is not None:
            with shown.stage("index"):
                through.add(kept.ids, k)
        # A query that is no document must not be taken for its own document.
        named = str if sides.same_space else "query {}".format
        queries, there = [named(i) for i in kept.ids], set(kept.ids.tolist())
        said = [m for m in read_marks(run / MARKS, missing_ok=True) if {m.a, m.b} <= there]
        marks = [(named(a), b, word) for m in said for a, b, word in (m, (m.b, m.a, m.said))]
        with shown.stage("mine") as told:
            table = engine.mine(
                q, k, query_ids=queries, document_ids=kept.ids, query_groups=groups, document_groups=groups,
                positives=positives, depth=depth, keep=keep, margin=margin, index=through, marks=marks,
                folder=run / "mined", progress=told,
            )  # fmt: skip
    show(engine.summary(table), as_json=json)
    if out is not None:
        anchors, documents = kept[sides.query.column], kept[sides.document.column]
        count = engine.write(table, out, anchors, documents, positives, form=form, negatives=keep)
        say(f"{count:,} rows: {out}")
