"""Frames of pictures and pieces of sound as tokens, for strategies of the trait `sounds`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.data.regions import counts, crops, gridded
from tellapart.engine.embed import embed, items_of
from tellapart.engine.fit import Fitted
from tellapart.engine.inputs import Features, TrainData
from tellapart.engine.regions import REGION, packed
from tellapart.engine.several import present
from tellapart.engine.token_sets import FRAMES, SOUND, Several, TokenSets, pooled_as
from tellapart.recipe import Recipe

COLUMN = "series"
ITEMS_A_BLOCK = 64


def learns_from_sounds(recipe: Recipe) -> bool:
    """Whether the recipe's strategy is given the frames and the sound of items."""
    return "sounds" in card_of("strategy", parse_spec(recipe.strategy)[0]).traits


def sound_features(
    collection: Collection, recipe: Recipe, *, cache: Path, stages: Stages | None = None
) -> dict[str, np.ndarray]:
    """Frozen vectors by item: `region` [n] of [frames, width] arrays, `sound` [n] of [pieces, width] ones, of 0 pieces
    where an item has no sound.

    Raises:
        DataError: fewer than two items have sound, or one cannot be read.
    """
    stages, collection = stages or Silence(), gridded(collection)
    with stages.stage(f"embed frames with {parse_spec(recipe.image)[0]}") as progress:
        x = embed(crops(collection), "image", make("encode", recipe.image), cache=cache, progress=progress)
    found = {REGION: listed(np.split(x, np.cumsum(counts(collection))[:-1]))}
    encoder, items = make("encode", recipe.series), items_of(collection, COLUMN, "series")
    held, rows = [np.zeros((0, 0), np.float32)] * len(collection), np.flatnonzero(present(collection, COLUMN))
    with stages.stage(f"embed pieces of sound with {parse_spec(recipe.series)[0]}") as progress:
        for start in range(0, len(rows), ITEMS_A_BLOCK):
            block = rows[start : start + ITEMS_A_BLOCK].tolist()
            for row, tokens in zip(block, encoder.encode_tokens([items.at(row) for row in block]), strict=True):
                held[row] = tokens
            progress(start + len(block), len(rows))
    width = held[int(rows[0])].shape[1]
    return {**found, SOUND: listed([tokens.reshape(len(tokens), width) for tokens in held])}


def with_sounds(data: TrainData, vectors: dict[str, np.ndarray]) -> TrainData:
    """Training data with frames and pieces of sound.

    Added are `region`, what goes into the document tower, and in `extra` frozen vectors and their numbers by item, -1
    where there are fewer: `region_vectors` [r, width] and `region_of` [n, most], `sound_vectors` [s, width] and
    `sound_of` [n, most].
    """
    extra = dict(data.extra)
    for name in (REGION, SOUND):
        held = list(vectors[name])
        extra[f"{name}_vectors"] = np.concatenate(held).astype(np.float32)
        extra[f"{name}_of"] = packed([len(one) for one in held])
    return replace(data, region=Features(extra["region_vectors"]), extra=extra)


def token_sets(collection: Collection, vectors: dict[str, np.ndarray], fitted: Fitted) -> TokenSets:
    """The frames and pieces of sound of all items in the trained space, pooled as the strategy has learnt to."""
    held = {FRAMES: list(vectors[REGION])}
    encode = {FRAMES: lambda x: fitted.encode("document", x)}
    if learns_from_sounds(fitted.recipe) and any(map(len, vectors[SOUND])):
        held[SOUND], encode[SOUND] = list(vectors[SOUND]), fitted.strategy.sounds
    sets = {name: Several.of(encode[name](np.concatenate(one)), list(map(len, one))) for name, one in held.items()}
    own = fitted.encode("document", np.asarray(vectors["document"]))
    return TokenSets(collection.ids.astype(str), own, sets, **pooled_as(fitted.strategy))


def listed(arrays: list[np.ndarray]) -> np.ndarray:
    """[n] object array of these arrays."""
    found = np.empty(len(arrays), dtype=object)
    for row, one in enumerate(arrays):
        found[row] = one
    return found
