"""What the service answers, as it goes over the wire."""

from __future__ import annotations

from urllib.parse import quote

from tellapart.server import schema
from tellapart.server.answers import Item, Result, Results
from tellapart.server.confusions import Confusion
from tellapart.server.service import Service
from tellapart.server.snapshot import Snapshot


def address(service: Service, id_: str, at: Snapshot | None = None) -> str:
    """Where the picture of an item is; it changes with what is served, so browsers may keep it."""
    return f"/api/items/{quote(id_, safe='')}/picture?v={service.picture_version(id_, at)}"


def item(service: Service, found: Item) -> schema.ItemAnswer:
    """One item with all its columns."""
    return schema.ItemAnswer(
        id=found.id,
        modality=found.modality,
        caption=found.caption,
        text=found.text,
        picture=address(service, found.id) if found.picture else None,
        columns=dict(found.columns),
    )


def results(service: Service, found: Results) -> schema.SearchAnswer:
    """What a search found."""
    # what was deleted since it was found is not shown
    at = service.live.now()
    return schema.SearchAnswer(
        results=[result(service, r, at) for r in found.results if r.id in at],
        closest=[result(service, r, at) for r in found.closest if r.id in at],
        nothing_here=found.nothing_here,
        searched=found.searched,
        notes=list(found.notes),
        ranked=found.ranked,
    )


def result(service: Service, found: Result, at: Snapshot) -> schema.ResultAnswer:
    """One result with as much of its item as a list shows."""
    shown = service.line(found.id, at)
    return schema.ResultAnswer(
        id=shown.id,
        caption=shown.caption,
        text=shown.text[:600],
        picture=address(service, shown.id, at) if shown.picture else None,
        score=found.score,
        probability=found.probability,
        passes=found.passes,
    )


def confusion(service: Service, found: Confusion) -> schema.ConfusionAnswer:
    """Two items that cannot be told apart, and the one that was asked for."""
    return schema.ConfusionAnswer(
        query=item(service, service.item(found.query)),
        right=item(service, service.item(found.right)),
        wrong=item(service, service.item(found.wrong)),
        right_score=found.right_score,
        wrong_score=found.wrong_score,
        both_ways=found.both_ways,
        said=service.pairs.marks.get(frozenset((found.query, found.wrong)), ""),
    )
