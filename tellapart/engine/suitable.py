"""Which objectives and strategies can use which data: what their cards ask for, against what a collection has."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import Card, card_of, cards, parse_spec
from tellapart.data.composed import composed
from tellapart.data.graph import EDGES
from tellapart.recipe import Recipe

SHAPES = ("objective", "strategy")
NEEDS = {
    "two-sides": "pairs of two columns, such as pictures and their texts",
    "views": "one column of pictures or texts, of which altered copies are compared",
    "labels": "labels that several items share",
    "scores": "a number with every item, in a column `score`",
    "negatives": "texts that are no answer, in columns `negative`, `negative_1` …, or mined ones",
    "regions": "pictures with captions",
    "captions": "pictures with captions, of which many are alike but for some words",
    "fusion": "pictures with texts",
    "sounds": "pictures with captions and recordings of sound, in a column `sound`",
    "sides": "a further column of pictures, texts or recordings beside the two sides",
    "composed": "a reference, what is to change and the picture that comes out (`other_image`, `text`, `image`)",
    "edges": "links between the items: a graph",
    "texts": "pairs of texts",
    "trusted": "items that somebody looked at and found right, by a column `trusted`",
    "sources": "items of several sources, by a column `source`",
    "pixels": "pictures",
    "answers": "labels, or `regions` with names",
    "origins": "pictures of which a file says how it was made (`origin`, a column that `curate` adds)",
    "votes": "labels by two annotators or more, in columns `vote_1`, `vote_2` …",
}
INPUTS = {
    "one column": frozenset({"views"}),
    "pairs": frozenset({"two-sides"}),
    "pairs of texts": frozenset({"two-sides", "texts"}),
    "pairs and negatives": frozenset({"two-sides", "negatives"}),
    "pictures with captions": frozenset({"two-sides", "regions", "captions", "fusion"}),
    "pictures with captions and sound": frozenset({"two-sides", "regions", "captions", "fusion", "sides", "sounds"}),
    "three columns or more": frozenset({"two-sides", "sides"}),
    "references, changes, pictures": frozenset({"two-sides", "regions", "captions", "fusion", "sides", "composed"}),
    "nodes and links": frozenset({"two-sides", "edges"}),
}
LABELS = {"": frozenset[str](), "labels": frozenset({"labels"}), "numbers": frozenset({"scores"})}


def needs(card: Card) -> list[str]:
    """What a part asks of the data, as keys of `NEEDS`."""
    return [trait for trait in NEEDS if trait in card.traits]


def in_words(found: Iterable[str]) -> str:
    """What is asked for, as a sentence names it."""
    return "; ".join(NEEDS[each] for each in found)


def fitting(have: frozenset[str], *, shape: str | None = None) -> list[Card]:
    """The objectives and strategies that need nothing beyond what there is, by name."""
    every = [card for each in SHAPES if shape in (None, each) for card in cards(each).values()]
    return sorted((card for card in every if have.issuperset(needs(card))), key=lambda card: card.name)


def grid() -> list[tuple[str, str, list[Card]]]:
    """(inputs, labels, what they let one use that less would not), beginning with what fits all data."""
    found: list[tuple[frozenset[str], str, str, list[Card]]] = []
    for inputs, columns in {"any": frozenset[str](), **INPUTS}.items():
        for labels, further in LABELS.items():
            facts = columns | further
            before = {card.name for less, _, _, listed in found if less <= facts for card in listed}
            new = [card for card in fitting(facts) if card.name not in before]
            if new:
                found.append((facts, inputs, labels, new))
    return [row[1:] for row in found]


def has(collection: Collection) -> frozenset[str]:
    """What a collection has, as keys of `NEEDS`."""
    sides, columns = collection.sides(), set(collection.columns)
    found = set()
    found.add("views" if sides.same_space else "two-sides")
    if sides.target is not None:
        codes = collection.codes(sides.target)[0]
        if len(codes) and np.bincount(codes[codes >= 0], minlength=1).max() > 1:
            found.add("labels")
    if "score" in columns:
        found.add("scores")
    if any(name.startswith("negative") for name in columns):
        found.add("negatives")
    if {sides.query.modality, sides.document.modality} == {"text", "image"}:
        found |= {"regions", "captions", "fusion"}
        found |= {"sounds"} if "series" in columns else set()
    if not sides.same_space and {sides.query.modality, sides.document.modality} == {"text"}:
        found.add("texts")
    if collection.others():
        found.add("sides")
    if composed(collection):
        found.add("composed")
    if EDGES in columns:
        found.add("edges")
    return frozenset(found)


def check_suitable(collection: Collection, recipe: Recipe) -> None:
    """Refuse an objective or a strategy that cannot use the data, with the names of those that can.

    Raises:
        PartError: what it needs, and what fits.
    """
    try:
        have = has(collection)
    except DataError:
        return
    for shape in SHAPES:
        name = parse_spec(getattr(recipe, shape))[0]
        missing = [need for need in needs(card_of(shape, name)) if need not in have]
        if missing:
            raise PartError(
                f"{shape}={name} needs {in_words(missing)}, and these data have none. What fits them: "
                f"{', '.join(card.name for card in fitting(have, shape=shape))} (tellapart objectives PATH says more)"
            )
