"""`tellapart explain`: what a part is and what is known of it."""

from __future__ import annotations

from typing import Annotated

import typer

from tellapart import catalogue
from tellapart.cli._say import show


def explain(
    part: Annotated[str, typer.Argument(help="Name or alias of a part.")],
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Explain a part: formula, options with bounds, paper, relations, evidence."""
    show(catalogue.explain(part), as_json=json)
