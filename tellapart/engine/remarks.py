"""What works, but not as its numbers say: told before the first step, since no result would show it."""

from __future__ import annotations

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.parts import card_of, parse_spec
from tellapart.engine.early import fuses, tokens_of
from tellapart.recipe import Recipe


def remarks(collection: Collection, recipe: Recipe) -> list[str]:
    """Sentences on a recipe and the training part of a collection; most have none."""
    split = np.asarray(collection.values("split"), dtype=object) == "train"
    n, said = int(split.sum()), []
    if recipe.tune == "none":
        return []
    if recipe.batch_size > n:
        said.append(
            f"batch_size={recipe.batch_size:,} is more than the {n:,} training items: every batch is all of them"
        )
    for field, shape in (("strategy", "strategy"), ("sample", "sample")):
        name, given = parse_spec(getattr(recipe, field))
        held = {option.name: option.default for option in card_of(shape, name).options} | given
        if field == "strategy" and held.get("size", 0) > n:
            said.append(
                f"{name}: a queue of {held['size']:,} is longer than the {n:,} training items, so it is as long"
            )
        if held.get("clusters", 0) > n:
            said.append(
                f"{name}: clusters={held['clusters']:,} is more than the {n:,} training items: clusters that would be "
                "empty are left out"
            )
    if fuses(recipe) and tokens_of("image", recipe) == 1:
        said.append(
            f"{parse_spec(recipe.strategy)[0]}: with image={recipe.image} a picture is one token, which words cannot "
            "look into; image=lite0 gives four"
        )
    if collection.sides().same_space and (target := collection.sides().target) is not None:
        codes = collection.codes(target)[0][split]
        alone = int((np.bincount(codes[codes >= 0]) == 1).sum())
        if alone:
            said.append(
                f"{alone:,} of {n:,} training items are the only ones of their {target}: nothing is positive to them, "
                "and they are negatives to the others"
            )
    return said
