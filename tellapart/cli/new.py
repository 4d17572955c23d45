"""`tellapart new`: the three files of a new part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart import scaffold
from tellapart.cli._say import out
from tellapart.core.parts import FOLDERS_VARIABLE, SHAPES


def new(
    shape: Annotated[str, typer.Argument(help=f"How the part is called: {', '.join(SHAPES)}.")],
    name: Annotated[str, typer.Argument(help="Its name in kebab-case, such as my-loss.")],
    into: Annotated[Path | None, typer.Option(help="A folder of your own instead of this checkout.")] = None,
) -> None:
    """Write the three files of a new part: the part, its oracle, its evidence."""
    files = scaffold.new(shape, name, into=into)
    for file in files:
        out(f"wrote {file}")
    folder = files[0].parents[1]
    outside = files[1].parent == folder / "oracles"
    if outside and not scaffold.is_seen(folder):
        out(f"It is found once this is set: export {FOLDERS_VARIABLE}={folder.resolve()}")
    out(f"It works as it stands. Change formula and oracle to yours, then: tellapart check {name}")
