"""`tellapart search`: ask a run for items, on the terminal."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.core.errors import DataError

if TYPE_CHECKING:
    from tellapart.server.answers import Result, Results
    from tellapart.server.service import Service


def search(
    words: Annotated[str, typer.Argument(help="What to look for.")] = "",
    image: Annotated[Path | None, typer.Option("--image", help="A picture to look for.")] = None,
    series: Annotated[Path | None, typer.Option("--series", help="A window to look for (.npy).")] = None,
    like: Annotated[
        list[str] | None, typer.Option("--like", help="The id of an item to be like; again for more.")
    ] = None,
    unlike: Annotated[list[str] | None, typer.Option("--unlike", help="The id of an item not to be like.")] = None,
    where: Annotated[list[str] | None, typer.Option("--where", help="column=value, or column=low..high.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many results.")] = 10,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Look for the words as words too; fuse both lists.")] = False,
    sparse: Annotated[
        bool, typer.Option("--sparse", help="By learned weights of words (strategy=idf-flops); with --hybrid too.")
    ] = False,
    rerank: Annotated[
        str,
        typer.Option("--rerank", help="A scorer that orders the first hits: maxsim, or cross-encoder:FOLDER."),
    ] = "",
    budget: Annotated[int, typer.Option("--budget", help="How many hits the scorer of --rerank is asked about.")] = 100,
    run: Annotated[Path, typer.Option("--run", help="The folder of a run.")] = Path("runs/latest"),
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Search a run by words, a picture or a window of a recording, and examples."""
    from tellapart.server import filters
    from tellapart.server.service import Service

    if image and series:
        raise DataError("give a picture (--image) or a window (--series), not both")
    if not (words.strip() or image or series or like or unlike or where):
        raise DataError(
            'say what to look for: tellapart search "a yellow fruit", or --image, --series, --like, --where'
        )
    service = Service(run)
    conditions = filters.parse(where or [], service.collection)
    given = _read(image, "picture") or _read(series, "window")
    found = service.search(words, given, like or (), unlike or (), conditions, k, hybrid, sparse, rerank, budget)
    if json:
        from tellapart.cli._say import data

        data(_plain(service, found))
    else:
        _show(service, found)


def _read(file: Path | None, what: str) -> bytes | None:
    from tellapart.server.limits import check_upload

    if file is None:
        return None
    if not file.is_file():
        raise DataError(f"there is no {what} {file}")
    check_upload(file.stat().st_size)
    return file.read_bytes()


def _path(service: Service, id_: str) -> str:
    source = service.source(id_)
    return str(source) if isinstance(source, Path) else ""


def _plain(service: Service, found: Results) -> dict[str, Any]:
    def row(result: Result) -> dict[str, Any]:
        item = service.item(result.id)
        return {**asdict(result), "caption": item.caption, "text": item.text, "path": _path(service, result.id)}

    return {
        "results": [row(r) for r in found.results],
        "closest": [row(r) for r in found.closest],
        "nothing_here": found.nothing_here,
        "searched": found.searched,
        "notes": list(found.notes),
        "ranked": found.ranked,
    }


def _show(service: Service, found: Results) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for note in found.notes:
        console.print(Text(note), soft_wrap=True)
    if found.nothing_here:
        best = found.closest[0]
        likely = f", {best.probability:.0%} likely to match" if best.probability is not None else ""
        near = f"; the closest is {service.item(best.id).caption!r} ({best.score:.3f}{likely})" if found.closest else ""
        console.print(Text(f"nothing here: none of {found.searched} items is likely to match{near}"), soft_wrap=True)
        return
    if not found.results:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    calibrated = any(r.probability is not None for r in found.results)
    scored = any(r.score is not None for r in found.results)
    for name in [*(["score"] if scored else []), *(["match"] if calibrated else [])]:
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("id", "caption", "path"):
        table.add_column(name, overflow="fold")
    root = service.collection.root.resolve() if service.collection.root else None
    for result in found.results:
        item = service.item(result.id)
        numbers = [f"{result.score:.3f}"] if scored else []
        if calibrated:
            numbers.append("" if result.probability is None else f"{result.probability:.0%}")
        said = item.text if item.modality == "text" and item.text else item.caption
        path = _path(service, result.id)
        if root is not None and path:
            path = str(Path(path).relative_to(root))
        cells = [*numbers, result.id, said[:200], path]
        table.add_row(*(Text(c) for c in cells), style="" if result.passes else "dim")
    console.print(table)
    if root is not None and any(_path(service, r.id) for r in found.results):
        console.print(Text(f"paths are below {root}", style="dim"), soft_wrap=True)
