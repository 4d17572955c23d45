"""`tellapart curate`: what a collection holds, and what of it should not be learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli import _on

PAGE = "findings.html"


def curate(
    path: Annotated[str, typer.Argument(help="What run takes: a folder, a file, shards, or the name openmoji.")],
    out: Annotated[Path | None, typer.Option("--out", help="Save the curated collection here.")] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="role=column, such as text=comment; again for more.")
    ] = None,
    find: Annotated[
        list[str] | None,
        typer.Option("--find", help="A part that looks for faults; again for more. With --out: all that fit, or none."),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="KIND[:ITEM]", help="Of a curated folder: these findings are right."),
    ] = None,
    reject: Annotated[
        list[str] | None, typer.Option("--reject", metavar="KIND[:ITEM]", help="These findings are wrong.")
    ] = None,
    forget: Annotated[
        list[str] | None, typer.Option("--forget", metavar="KIND[:ITEM]", help="Take back what was said of these.")
    ] = None,
    review: Annotated[
        bool, typer.Option("--review", help="Of a curated folder: look at what was found in a browser, and decide.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Where --review listens; 0 takes a free port.")
    ] = 8000,
    open: Annotated[bool, typer.Option("--open", help="Open the page of --review in a browser.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of what the parts draw.")] = 0,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as a page as well.")] = None,
    on: _on.Place = "here",
    ray_address: _on.Address = "",
    workers: _on.Workers = 0,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Read a collection, find duplicates and what else may be wrong with it, and show what it holds.

    With --accept and --reject, say of what was found in a curated folder whether it is right; with --review, on a page.
    """
    from tellapart import data, finding
    from tellapart.cli._say import out as say
    from tellapart.cli._say import roles, save_page, show, stages
    from tellapart.core.collection import Collection
    from tellapart.core.errors import TellapartError
    from tellapart.core.findings import FILE, Findings

    if accept or reject or forget:
        if out is not None or find or review:
            raise TellapartError(
                "--accept, --reject and --forget speak of a folder that is curated: leave out the rest"
            )
        decisions = finding.decide(path, accept=accept or (), reject=reject or (), forget=forget or ())
        report = finding.report(Collection.open(path), Findings.open(path), decisions)
        show(report, as_json=json)
        save_page(report, html, Path(path))
        return
    if review:
        from tellapart.cli.serve import serve_findings

        if out is not None or find or html is not None or json:
            raise TellapartError("--review shows a folder that is curated: leave out --out, --find, --html and --json")
        serve_findings(Path(path), port=port, open=open)
        return
    if out is not None and (Path(path) / FILE).is_file() and out.resolve() == Path(path).resolve():
        raise TellapartError(f"{path} is curated, and its decisions are of what it holds now: give another --out")
    with stages() as shown:
        with shown.stage("read") as told:
            collection = data.read(path, columns=roles(column), progress=told)
        with _on.on(on, ray_address, workers):
            if "group" not in collection.columns:
                with shown.stage("look for duplicates") as told:
                    collection = data.curate(collection, progress=told)
            looked = finding.wanted(find or []) and (out is not None or bool(find))
            found = finding.find(collection, find or (), seed=seed, stages=shown) if looked else Findings.joined([])
    report = data.summary(collection)
    if found.shown:
        report.add(*finding.report(collection, found).blocks)
    if out is not None:
        collection.save(out)
        found.save(out)
        report.add(finding.next_step(out, found))
        html = html or (out / PAGE if len(found) else None)
    show(report, as_json=json)
    save_page(report, html, out)
    if out is not None and not json:
        say(f"\nSaved: {out}")
