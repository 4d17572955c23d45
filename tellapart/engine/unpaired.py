"""Items of one side only in a run: embedded, trained on by strategies of the trait `unpaired`, never measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.data.unpaired import has
from tellapart.engine.compatible import encoder_of, sides_of
from tellapart.engine.embed import embed, items_of
from tellapart.engine.inputs import Features, Inputs
from tellapart.recipe import Recipe


def learns_from_unpaired(recipe: Recipe) -> bool:
    """Whether the recipe's strategy can use items that lack one side."""
    return "unpaired" in card_of("strategy", parse_spec(recipe.strategy)[0]).traits


@dataclass(frozen=True)
class Unpaired:
    """Items that have one of the two sides.

    Attributes:
        items: what `tellapart.data.unpaired.unpaired` gives.
        rows: by side, the rows of the items that have it.
        vectors: by side, [n, width] frozen features of these rows.
    """

    items: Collection
    rows: dict[str, np.ndarray]
    vectors: dict[str, np.ndarray]

    def inputs(self, collection: Collection) -> dict[str, Inputs]:
        """What may be trained on beside the training pairs of a collection: by side, the items of it.

        An item that holds what a pair outside of training holds on that side is left out.
        """
        outside = np.flatnonzero(np.asarray(collection.values("split"), dtype=object) != "train")
        found: dict[str, Inputs] = {}
        for name, side in sides_of(collection).items():
            held = items_of(collection.take(outside), side.column, side.modality)
            seen = {held.key(row) for row in range(len(outside))}
            own = items_of(self.items.take(self.rows[name]), side.column, side.modality)
            free = [row for row in range(len(self.rows[name])) if own.key(row) not in seen]
            if free:
                found[name] = Features(np.asarray(self.vectors[name][free]))
        return found

    def words(self) -> str:
        """What was made of them, for a report."""
        sides = sides_of(self.items)
        many = " and ".join(f"{len(rows)} with {sides[name].column} alone" for name, rows in self.rows.items())
        return (
            f"Of the problems below, {many} were given to the strategy, less what a held-out pair repeats; no "
            f"figure counts them, and what has {sides['document'].column} is searched."
        )


def open_unpaired(
    items: Collection | None, recipe: Recipe, *, cache: Path, stages: Stages | None = None
) -> Unpaired | None:
    """These items with their frozen features, computed once by content; None where there are none."""
    if items is None:
        return None
    rows, vectors = {}, {}
    for name, side in sides_of(items).items():
        rows[name] = np.flatnonzero(has(items, side.column))
        encoder = make("encode", encoder_of(side, recipe))
        with (stages or Silence()).stage(f"embed {len(rows[name])} items with {side.column} alone") as told:
            vectors[name] = embed(items.take(rows[name]), side.column, encoder, cache=cache, progress=told)
    return Unpaired(items, rows, vectors)
