"""Captions that are rewritten, for strategies of the trait `captions`: composed queries learnt without a triplet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import PartError
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.data.composed import composed
from tellapart.data.identity import normal
from tellapart.data.rewrites import PLAIN, rewrites
from tellapart.engine.inputs import Features, TrainData
from tellapart.recipe import Recipe

EACH, FEWEST = 4, 20


def learns_from_captions(recipe: Recipe) -> bool:
    """Whether the recipe's strategy learns from captions to change what is searched for in words."""
    return "captions" in card_of("strategy", parse_spec(recipe.strategy)[0]).traits


def told(texts: Sequence[str], *, seed: int = 0) -> tuple[list[str], dict[str, np.ndarray]]:
    """(words of changes, what a strategy is told beside them) of the captions of a training part.

    The words are all different, and the first are those of no change. `caption` [n]: equal for equal captions; `change`
    and `changed` [n, `EACH`]: numbers of the words, and rows of the captions that come out, -1 where there are fewer.

    Raises:
        PartError: hardly a caption is another one but for some words.
    """
    made = rewrites(texts, each=EACH, seed=seed)
    if len({one.reference for one in made}) < FEWEST:
        raise PartError(
            f"of {len(texts)} captions {len({one.reference for one in made})} are another one but for up to three "
            f"words, and at least {FEWEST} are needed to learn changes from captions alone: give rows with "
            "`other_image`, `text` and `image`, and strategy=combiner"
        )
    words = list(dict.fromkeys([PLAIN, *(one.words for one in made)]))
    number = {said: at for at, said in enumerate(words)}
    change, changed = (np.full((len(texts), EACH), -1, np.int64) for _ in range(2))
    filled = np.zeros(len(texts), np.int64)
    for one in made:
        place = one.reference, filled[one.reference]
        change[place], changed[place] = number[one.words], one.target
        filled[one.reference] += 1
    codes: dict[str, int] = {}
    caption = np.asarray([codes.setdefault(normal(text), len(codes)) for text in texts], np.int64)
    return words, {"caption": caption, "change": change, "changed": changed}


def with_captions(data: TrainData, collection: Collection, recipe: Recipe) -> TrainData:
    """Training data with `phrase`, the words of changes for the tower of the captions, and `extra` as `told` gives it.

    Raises:
        PartError: data that are no pictures with captions, an encoder that is tuned, or captions that do not fit.
    """
    sides = collection.sides()
    if (sides.query.modality, sides.document.modality) != ("text", "image"):
        raise PartError(
            f"strategy={recipe.strategy} learns from captions of pictures how words change a picture: give pictures "
            f"with captions; here {sides.query.column} is searched with {sides.document.column}"
        )
    if composed(collection):
        raise PartError(
            f"strategy={recipe.strategy} learns from captions that say what is there, and the texts here are changes "
            "of a reference: take strategy=combiner, or leave out the column `other_image`"
        )
    if recipe.tune != "head":
        raise PartError(f"strategy={recipe.strategy} learns above frozen encoders: set tune=head, not {recipe.tune}")
    words, extra = told([text or "" for text in collection.values(sides.query.column)])
    x = np.asarray(make("encode", recipe.text).encode(words), np.float32)
    return replace(data, phrase=Features(x), extra={**data.extra, **extra})
