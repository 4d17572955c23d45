"""`tellapart index`: another index for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.core.errors import DataError


def index(
    part: Annotated[str, typer.Argument(help="An index part, such as exact or 'hnsw(width=64)'.")] = "",
    run: Annotated[Path, typer.Option("--run", help="The folder of a run.")] = Path("runs/latest"),
    out: Annotated[Path | None, typer.Option("--out", help="Another folder than the run's own index.")] = None,
    compact: Annotated[
        bool, typer.Option("--compact", help="Fold in the items that were changed while the run was served.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Build the index of a run anew, with its recall against the exact search.

    One of several vectors an item (muvera, maxsim) is built of the word pieces of texts, beside the index of single
    vectors, and answers what is searched by words alone; naming an index of single vectors takes it away again.
    """
    if compact == bool(part):
        raise DataError("say which index to build, such as `tellapart index exact`, or fold changes in with --compact")
    if compact:
        _fold(run, json)
        return
    from tellapart.cli._say import show, stages
    from tellapart.core.report import Report
    from tellapart.engine import tokens
    from tellapart.engine.indexing import build
    from tellapart.runs import Run

    with stages() as shown:
        opened = Run(run, stages=shown)
        if tokens.several(part):
            report = Report(f"Index {part}")
            documents = opened.collection if opened.corpus is None else opened.corpus.documents
            with shown.stage("index the word pieces") as told:
                folder = out or run / tokens.FOLDER
                report.add(*tokens.keep_tokens(part, opened.collection, documents, opened.model, folder, progress=told))
        else:
            with opened.searched() as (ids, z), shown.stage("build the index") as told:
                folder = out or run / "index"
                _, report = build(part, ids, z, folder, queries=opened.held_out_queries(), progress=told)
            if out is None:
                tokens.drop(run)
    show(report, as_json=json)


def _fold(run: Path, as_json: bool) -> None:
    from tellapart.cli._say import data, out
    from tellapart.engine.model import Model
    from tellapart.server.live import Live

    live = Live(run, Model.load(run / "model"))
    try:
        folded = live.fold()
        found = {"folded": folded is not None, "items": len(live.now())}
    finally:
        live.close()
    if as_json:
        data(found)
    elif folded is None:
        out(f"nothing was changed since the last time: {found['items']} items")
    else:
        out(f"{folded.changes} changes are folded in: {folded.items} items, in {run / 'served' / folded.version}")
