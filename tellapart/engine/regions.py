"""Regions of pictures and what is said of them, for strategies of the trait `regions`."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import PartError
from tellapart.core.parts import make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Table
from tellapart.data.attributes import attributes_of, mentions
from tellapart.data.regions import counts, crops, gridded
from tellapart.engine.compatible import learns_from_regions
from tellapart.engine.embed import embed, items_of
from tellapart.engine.inputs import Features, Inputs, Opened, TrainData
from tellapart.recipe import Recipe

REGION, MENTION = "region", "mention"
MOST_HEADS, MOST_SHOWN = 256, 20
FEWEST = 2


@dataclass(frozen=True)
class Mention:
    """An attribute of an item: its name, what is said of it there, and the frozen vectors of both."""

    attribute: str
    text: str
    vector: np.ndarray
    text_vector: np.ndarray


def region_features(
    collection: Collection, recipe: Recipe, *, cache: Path, stages: Stages | None = None
) -> dict[str, np.ndarray]:
    """Frozen vectors of regions and mentions, one row an item: `region` [n] of [regions, width] arrays, `mention` [n]
    of lists of `Mention`."""
    stages = stages or Silence()
    collection = gridded(collection)
    attributes, said = attributes_of(collection)
    texts = mentions(collection, attributes)
    stages.say(f"{counts(collection).sum():,} regions of {len(collection):,} pictures; {said}")
    with stages.stage(f"embed regions with {parse_spec(recipe.image)[0]}") as progress:
        x = embed(crops(collection), "image", make("encode", recipe.image), cache=cache, progress=progress)
    words = list(dict.fromkeys(w for row in (*attributes, *texts) for w in row))
    vector = {}
    if words:
        with stages.stage(f"embed what is said of regions with {parse_spec(recipe.text)[0]}") as progress:
            table = Collection.of({"text": words})
            z = embed(table, "text", make("encode", recipe.text), cache=cache, progress=progress)
        vector = dict(zip(words, z, strict=True))
    region, mention = (np.empty(len(collection), dtype=object) for _ in range(2))
    for row, part in enumerate(np.split(x, np.cumsum(counts(collection))[:-1])):
        region[row] = part
        held = zip(attributes[row], texts[row], strict=True)
        mention[row] = [Mention(a, text, vector[a], vector[text]) for a, text in held]
    return {REGION: region, MENTION: mention}


def with_regions(data: TrainData, collection: Collection, vectors: dict[str, np.ndarray], recipe: Recipe) -> TrainData:
    """Training data with regions and attributes.

    Added are `region` and `phrase`, what goes into the document and the query tower, and in `extra`:
    `region_vectors` [r, width], frozen; `region_of` [n, most regions], their numbers by item, -1 where there are fewer;
    `phrase_of` [n, attributes], the number of the phrase that says it of the item, -1 where it has it not;
    `attribute_vectors` [attributes, text width], frozen.

    Attributes are those of at least `FEWEST` items and not of all, at most `MOST_HEADS`, the most frequent.

    Raises:
        PartError: no such attribute.
    """
    found, told = vectors[REGION], vectors[MENTION]
    numbers = np.asarray([len(one) for one in found])
    frozen = np.concatenate(list(found)).astype(np.float32)
    of = np.full((len(found), numbers.max()), -1, dtype=np.int64)
    of[np.arange(of.shape[1]) < numbers[:, None]] = np.arange(len(frozen))
    names = attribute_names(told)
    code = {name: i for i, name in enumerate(names)}
    phrases: dict[str, tuple[int, np.ndarray]] = {}
    phrase_of = np.full((len(told), len(names)), -1, dtype=np.int64)
    attribute = np.zeros((len(names), len(next(m for row in told for m in row).vector)), np.float32)
    for row, held in enumerate(told):
        for one in held:
            if one.attribute in code:
                phrase_of[row, code[one.attribute]] = phrases.setdefault(one.text, (len(phrases), one.text_vector))[0]
                attribute[code[one.attribute]] = one.vector
    region, phrase = _inputs(data, collection, frozen, phrases, recipe)
    extra = {"region_vectors": frozen, "region_of": of, "phrase_of": phrase_of, "attribute_vectors": attribute}
    return replace(data, region=region, phrase=phrase, extra={**data.extra, **extra})


def attribute_names(told: np.ndarray) -> list[str]:
    """The attributes that a mapping can be learnt of, sorted; see `with_regions`."""
    count = Counter(name for held in told for name in {one.attribute for one in held})
    usable = sorted((n for n, c in count.items() if FEWEST <= c < len(told)), key=lambda n: (-count[n], n))
    if not usable:
        raise PartError(
            f"no attribute stands with at least {FEWEST} of the {len(told)} training pictures and is missing from "
            "another: give a column `attributes` (docs/data.md), or captions that share words"
        )
    return sorted(usable[:MOST_HEADS])


def assigned(strategy: Any, collection: Collection, vectors: dict[str, np.ndarray]) -> Collection:
    """The training pictures' regions as items with their texts: what a strategy of the trait `regions` has mapped.

    A region stands here if it has an attribute: `image` and `box`, `text` (what is said of it, sentences joined),
    `attributes`, and split and groups of its picture; regions of one text have one `target`. It is a collection of
    pairs for any recipe.

    Args:
        strategy: `Fitted.strategy`, with `assigned` [regions, attributes].
        collection, vectors: the training part, as it was trained on.

    Raises:
        PartError: no region has an attribute.
    """
    names, told = attribute_names(vectors[MENTION]), vectors[MENTION]
    made = crops(collection)
    item = np.repeat(np.arange(len(told)), [len(one) for one in vectors[REGION]])
    has = strategy.assigned.cpu().numpy()
    kept = np.flatnonzero(has.any(1))
    if not len(kept):
        raise PartError("no region was given an attribute: train for more steps")
    held = [[names[a] for a in np.flatnonzero(has[r])] for r in kept]
    said = [{one.attribute: one.text for one in told[item[r]]} for r in kept]
    texts = [". ".join(dict.fromkeys(words[a] for a in mine)) for words, mine in zip(said, held, strict=True)]
    made = made.take(kept)
    for name, values in (("text", texts), ("target", texts), ("attributes", held)):
        made = made.with_column(name, values, by={"part": "regions"})
    return made


def keep_mapping(
    collection: Collection, vectors: dict[str, np.ndarray], recipe: Recipe, fitted: Any, folder: Path
) -> list[Table]:
    """Write what a strategy has mapped into a folder, a collection; a table of it. Nothing for other strategies.

    Args:
        collection: with the column `split`.
        fitted: the trained run; None where nothing was trained.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if not learns_from_regions(recipe) or fitted is None:
        return []
    rows = np.flatnonzero(np.asarray(collection.values("split"), dtype=object) == "train")
    part, mine = collection.take(rows), {name: x[rows] for name, x in vectors.items()}
    made = assigned(fitted.strategy, part, mine)
    made.save(folder)
    regions = Counter(name for held in made.values("attributes") for name in held)
    pictures = Counter(one.attribute for held in mine[MENTION] for one in held)
    shown = sorted(regions, key=lambda name: (-pictures[name], name))[:MOST_SHOWN]
    note = (
        f"{len(made):,} of {counts(gridded(part)).sum():,} regions of the training pictures have one of {len(regions)} "
        f"attributes; they lie in {folder}, a collection of regions with their texts. An attribute that nearly all "
        "regions have was not told apart: give more pictures, or train for more steps"
    )
    columns = ["attribute", "pictures", "regions a picture"]
    return [Table("Regions", columns, [[n, pictures[n], regions[n] / pictures[n]] for n in shown], note)]


def _inputs(
    data: TrainData, collection: Collection, frozen: np.ndarray, phrases: dict[str, Any], recipe: Recipe
) -> tuple[Inputs, Inputs]:
    if recipe.tune == "head":
        return Features(frozen), Features(np.stack([vector for _, vector in phrases.values()]))
    assert isinstance(data.document, Opened) and isinstance(data.query, Opened)
    pictures = items_of(crops(collection), "image", "image")
    texts = items_of(Collection.of({"text": list(phrases)}), "text", "text")
    low_rank = recipe.tune == "lora"
    return (
        Opened(pictures, data.document.part, low_rank=low_rank, augment=data.document.augment),
        Opened(texts, data.query.part, low_rank=low_rank, augment=data.query.augment),
    )
