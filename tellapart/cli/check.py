"""`tellapart check`: whether a part keeps what its shape promises."""

from __future__ import annotations

from typing import Annotated

import typer

from tellapart import catalogue
from tellapart.cli._say import out, show
from tellapart.core.parts import card_of
from tellapart.core.report import Report, Table


def check(part: Annotated[str, typer.Argument(help="Name or alias of a part, shipped or your own.")]) -> None:
    """Run the contract of its shape and its oracle over a part; the exit code is 1 when a check fails."""
    card = card_of(None, part)
    rows = catalogue.verify(card)
    failed = [row for row in rows if row[1] != "holds"]
    show(
        Report(f"{card.name}: {len(rows) - len(failed)} of {len(rows)} checks hold").add(
            Table("", ["check", "result"], rows)
        )
    )
    if not catalogue.has_oracle(card):
        out(f"It has no oracle: write oracles/{card.file.stem}.py beside its folder")
    if failed:
        raise typer.Exit(1)
