"""Regions of pictures and what is said of them, for strategies of the trait `regions`."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import PartError
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Table
from tellapart.data.attributes import attributes_of, mentions, phrases, sentences
from tellapart.data.regions import counts, crops, gridded
from tellapart.engine.embed import embed, items_of
from tellapart.engine.inputs import Features, Inputs, Opened, TrainData
from tellapart.recipe import Recipe

REGION, MENTION, SAID = "region", "mention", "said"
PIECES = {"sentences": sentences, "phrases": phrases}
MOST_HEADS, MOST_SHOWN = 256, 20
FEWEST = 2


@dataclass(frozen=True)
class Mention:
    """An attribute of an item: its name, what is said of it there, and the frozen vectors of both."""

    attribute: str
    text: str
    vector: np.ndarray
    text_vector: np.ndarray


def said_of_regions(recipe: Recipe) -> str:
    """What a strategy that learns from regions is told of them: "sentences" or "phrases" of captions, or "attributes";
    "" for one that does not."""
    traits = card_of("strategy", parse_spec(recipe.strategy)[0]).traits
    if "regions" not in traits:
        return ""
    return next((told for told in ("sentences", "phrases") if told in traits), "attributes")


def region_features(
    collection: Collection, recipe: Recipe, *, cache: Path, stages: Stages | None = None
) -> dict[str, np.ndarray]:
    """Frozen vectors of regions and of what is said of them, one row an item.

    `region` [n] holds [regions, width] arrays; beside it stands `said` [n] of lists of (text, vector) for a strategy of
    the trait `sentences` or `phrases`, and for any other `mention` [n] of lists of `Mention`.
    """
    stages = stages or Silence()
    collection = gridded(collection)
    told = said_of_regions(recipe)
    attributes: list[list[str]] = []
    if told in PIECES:
        texts = PIECES[told](collection)
        said = f"{sum(map(len, texts)):,} {told} of their captions"
    else:
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
    region, held = (np.empty(len(collection), dtype=object) for _ in range(2))
    for row, part in enumerate(np.split(x, np.cumsum(counts(collection))[:-1])):
        region[row] = part
        if told in PIECES:
            held[row] = [(text, vector[text]) for text in texts[row]]
            continue
        pairs = zip(attributes[row], texts[row], strict=True)
        held[row] = [Mention(a, text, vector[a], vector[text]) for a, text in pairs]
    return {REGION: region, SAID if told in PIECES else MENTION: held}


def with_regions(data: TrainData, collection: Collection, vectors: dict[str, np.ndarray], recipe: Recipe) -> TrainData:
    """Training data with regions and what is said of them.

    Added are `region` and `phrase`, what goes into the document and the query tower, and in `extra`:
    `region_vectors` [r, width], frozen; `region_of` [n, most regions], their numbers by item, -1 where there are fewer;
    and for sentences or phrases of captions `said_of` [n, most], their numbers by item, at least one, -1 where there
    are fewer; for attributes `phrase_of` [n, attributes], the number of the phrase that says it of the item, -1 where
    it has it not, and `attribute_vectors` [attributes, text width], frozen.

    Attributes are those of at least `FEWEST` items and not of all, at most `MOST_HEADS`, the most frequent.

    Raises:
        PartError: no such attribute.
    """
    found = vectors[REGION]
    frozen = np.concatenate(list(found)).astype(np.float32)
    said, extra = _pieces(vectors[SAID]) if SAID in vectors else _attributes(vectors[MENTION])
    region, phrase = _inputs(data, collection, frozen, said, recipe)
    extra |= {"region_vectors": frozen, "region_of": packed([len(one) for one in found])}
    return replace(data, region=region, phrase=phrase, extra={**data.extra, **extra})


Texts = dict[str, tuple[int, np.ndarray]]


def packed(numbers: Sequence[int]) -> np.ndarray:
    """[n, most] of so many things an item: counted along the rows, so many in each; -1 where there are fewer."""
    count = np.asarray(numbers)
    of = np.full((len(count), count.max()), -1, dtype=np.int64)
    of[np.arange(of.shape[1]) < count[:, None]] = np.arange(count.sum())
    return of


def _pieces(told: np.ndarray) -> tuple[Texts, dict[str, np.ndarray]]:
    """(number and vector of every text, `said_of`)."""
    texts: Texts = {}
    number = [texts.setdefault(text, (len(texts), vector))[0] for row in told for text, vector in row]
    of = packed([len(row) for row in told])
    return texts, {"said_of": np.where(of >= 0, np.asarray(number)[of], -1)}


def _attributes(told: np.ndarray) -> tuple[Texts, dict[str, np.ndarray]]:
    """(number and vector of every phrase, `phrase_of` and `attribute_vectors`)."""
    names = attribute_names(told)
    code = {name: i for i, name in enumerate(names)}
    texts: Texts = {}
    phrase_of = np.full((len(told), len(names)), -1, dtype=np.int64)
    attribute = np.zeros((len(names), len(next(m for row in told for m in row).vector)), np.float32)
    for row, held in enumerate(told):
        for one in held:
            if one.attribute in code:
                phrase_of[row, code[one.attribute]] = texts.setdefault(one.text, (len(texts), one.text_vector))[0]
                attribute[code[one.attribute]] = one.vector
    return texts, {"phrase_of": phrase_of, "attribute_vectors": attribute}


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
    if said_of_regions(recipe) != "attributes" or fitted is None:
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
    data: TrainData, collection: Collection, frozen: np.ndarray, said: Texts, recipe: Recipe
) -> tuple[Inputs, Inputs]:
    if recipe.tune == "head":
        return Features(frozen), Features(np.stack([vector for _, vector in said.values()]))
    assert isinstance(data.document, Opened) and isinstance(data.query, Opened)
    pictures = items_of(crops(collection), "image", "image")
    texts = items_of(Collection.of({"text": list(said)}), "text", "text")
    low_rank = recipe.tune == "lora"
    return (
        Opened(pictures, data.document.part, low_rank=low_rank, augment=data.document.augment),
        Opened(texts, data.query.part, low_rank=low_rank, augment=data.query.augment),
    )
