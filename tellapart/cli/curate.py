"""`tellapart curate`: what a collection holds before anything is learnt from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli import _on


def curate(
    path: Annotated[str, typer.Argument(help="What run takes: a folder, a file, shards, or the name openmoji.")],
    out: Annotated[Path | None, typer.Option("--out", help="Save the curated collection here.")] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="role=column, such as text=comment; again for more.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page as well.")] = None,
    on: _on.Place = "here",
    ray_address: _on.Address = "",
    workers: _on.Workers = 0,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Read a collection, find duplicates, and show what it holds and what is wrong with it."""
    from tellapart import data
    from tellapart.cli._say import out as say
    from tellapart.cli._say import roles, save_page, show, stages

    with stages() as shown:
        with shown.stage("read") as told:
            collection = data.read(path, columns=roles(column), progress=told)
        with _on.on(on, ray_address, workers), shown.stage("look for duplicates") as told:
            collection = data.curate(collection, progress=told)
    report = data.summary(collection)
    show(report, as_json=json)
    if out is not None:
        collection.save(out)
    save_page(report, html, out)
    if out is not None and not json:
        say(f"\nSaved: {out}. Use it: tellapart run {out}")
