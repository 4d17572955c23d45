"""`tellapart parts`: what there is to choose from."""

from __future__ import annotations

from typing import Annotated

import typer

from tellapart import catalogue
from tellapart.cli._say import data, show
from tellapart.core.parts import SHAPES, Card
from tellapart.core.report import Report, Table


def parts(
    shape: Annotated[str, typer.Argument(help=f"Only parts of this shape: {', '.join(SHAPES)}.")] = "",
    systems: Annotated[bool, typer.Option("--systems", help="The published systems that parts realise.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the parts, or the published systems they realise."""
    if systems:
        found = catalogue.systems()
        kept = [s for s in found if not shape or set(s["parts"]) & set(catalogue.parts(shape))]
        if json:
            data(kept)
            return
        rows = [[s["system"], s["parts"], s["oracle"], s["evidence"], s["verdict"]] for s in kept]
        show(Report(f"{len(kept)} systems").add(Table("", ["system", "parts", "oracle", "evidence", "verdict"], rows)))
        return
    chosen = catalogue.parts(shape or None)
    if json:
        data([_plain(card) for card in chosen.values()])
        return
    report = Report(f"{len(chosen)} parts")
    for each in SHAPES:
        rows = [[c.name, c.summary, c.place] for c in chosen.values() if c.shape == each]
        if rows:
            report.add(Table(each, ["part", "what it does", "place"], rows))
    show(report)


def _plain(card: Card) -> dict[str, object]:
    return {
        "name": card.name,
        "shape": card.shape,
        "place": card.place,
        "summary": card.summary,
        "paper": card.paper,
        "system": card.system,
        "aliases": card.aliases,
        "traits": card.traits,
        "needs": card.needs,
        "options": [
            {"name": o.name, "type": o.type, "default": o.default, "bounds": o.bounds, "required": o.required}
            for o in card.options
        ],
    }
