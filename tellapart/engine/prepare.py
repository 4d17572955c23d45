"""From a collection to what training and measuring need: frozen features of both sides, keys, guide, topics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import card_of, chain_cards, make, make_chain, parse_spec
from tellapart.core.progress import Progress, Silence, Stages
from tellapart.data.graph import EDGES
from tellapart.engine.captions import with_captions
from tellapart.engine.compatible import (
    check_links,
    check_together,
    encoder_of,
    learns_from_regions,
    sides_of,
    word_chain,
)
from tellapart.engine.embed import embed, items_of
from tellapart.engine.inputs import Features, Inputs, Opened, TrainData, Views, keys_of
from tellapart.engine.regions import region_features, with_regions
from tellapart.engine.several import filled, learns_from_sides, other_features, with_others
from tellapart.engine.sounds import learns_from_sounds, sound_features, with_sounds
from tellapart.engine.sparse import with_terms
from tellapart.engine.subgroups import subgroups
from tellapart.recipe import Recipe

FeaturesBySide = dict[str, np.ndarray]
ANSWERED = "positive"
VIEWS = 4
NEGATIVE = re.compile(r"negative(_[1-9]\d*)?$")


def features(
    collection: Collection,
    recipe: Recipe,
    *,
    cache: Path,
    stages: Stages | None = None,
    encoders: Mapping[str, Any] | None = None,
) -> FeaturesBySide:
    """Frozen vectors by side: `query` and `document`, [n, width] each.

    Where the collection has columns of texts that are no answer, `negative` is [n, columns, width], NaN where an item
    has none. Where the recipe alters words and leaves the encoder as it is, `query view 0` and so on are the vectors of
    altered copies of the texts. Where its strategy learns from regions, `region` and `mention` hold those of each item
    (`engine.regions`); where it learns from further columns, those are there by their names (`engine.several`).

    Args:
        encoders: by modality, instead of those that the recipe names.

    Raises:
        PartError: an encoder of another modality, or one that cannot be tuned as wanted;
            words to alter where there are no texts.
    """
    stages = stages or Silence()
    check_together(collection, recipe)
    sides = collection.sides()
    found = {}
    for name, side in sides_of(collection).items():
        spec = encoder_of(side, recipe)
        encoder = encoders[side.modality] if encoders else make("encode", spec)
        if encoder.modality != side.modality:
            raise PartError(f"{spec} encodes {encoder.modality} items, and column {side.column} is {side.modality}")
        with stages.stage(f"embed {side.column} with {parse_spec(spec)[0]}") as progress:
            found[name] = embed(collection, side.column, encoder, cache=cache, progress=progress)
        if side.modality == "text" and word_chain(recipe):
            found |= _views(name, collection, side.column, recipe, encoder, cache, stages)
        if name == _negative_side(collection) and (columns := _negative_columns(collection)):
            with stages.stage(f"embed {', '.join(columns)} with {parse_spec(spec)[0]}") as progress:
                found["negative"] = _embedded_negatives(collection, columns, encoder, cache, progress)
    if sides.same_space:
        found["document"] = found["query"]
    if learns_from_regions(recipe) and not encoders:
        found |= region_features(collection, recipe, cache=cache, stages=stages)
    if learns_from_sounds(recipe) and not encoders:
        found |= sound_features(collection, recipe, cache=cache, stages=stages)
    if learns_from_sides(recipe, collection):
        found |= other_features(collection, recipe, cache=cache, stages=stages, encoders=encoders)
    return found


def _views(
    name: str, collection: Collection, column: str, recipe: Recipe, encoder: Any, cache: Path, stages: Stages
) -> FeaturesBySide:
    """Vectors of `VIEWS` altered copies of every text, each a function of its words, its number and the parts."""
    parts, items = make_chain("augment", word_chain(recipe)), items_of(collection, column, "text")
    texts: list[list[str]] = [[] for _ in range(VIEWS)]
    with stages.stage(f"alter {column}") as progress:
        for row in range(len(collection)):
            plain, key = items.at(row), items.key(row)
            for view, made in enumerate(texts):
                rng, text = np.random.default_rng(np.random.SeedSequence([view, *key])), plain
                for part in parts:
                    text = part(text, rng=rng)
                made.append(text)
            progress(row + 1, len(collection))
    found = {}
    for view, made in enumerate(texts):
        with stages.stage(f"embed {column}, altered, {view + 1} of {VIEWS}") as progress:
            copies = Collection.of({"id": collection.ids.tolist(), "text": made})
            found[f"{name} view {view}"] = embed(copies, "text", encoder, cache=cache, progress=progress)
    return found


def _side(vectors: FeaturesBySide, name: str) -> Features:
    """A side's frozen features, with its altered copies where there are any."""
    views = [x for key, x in vectors.items() if key.startswith(f"{name} view ")]
    return Views(vectors[name], np.stack(views, 1)) if views else Features(vectors[name])


def _negative_columns(collection: Collection) -> list[str]:
    """The columns of texts that are no answer: `negative`, `negative_1` and so on."""
    return [name for name in collection.columns if NEGATIVE.match(name)]


def _negative_side(collection: Collection) -> str | None:
    """The side whose tower takes the texts that are no answer: answers, or captions of pictures; None: neither."""
    sides = collection.sides()
    if sides.document.column == ANSWERED:
        return "document"
    return "query" if (sides.query.modality, sides.document.modality) == ("text", "image") else None


def _embedded_negatives(
    collection: Collection, columns: list[str], encoder: Any, cache: Path, progress: Progress | None
) -> np.ndarray:
    found = np.full((len(collection), len(columns), encoder.dim), np.nan, np.float32)
    for at, column in enumerate(columns):
        rows = np.flatnonzero(collection[column].is_valid().to_numpy())
        found[rows, at] = embed(collection.take(rows), column, encoder, cache=cache, progress=progress)
    return found


def opened(collection: Collection, recipe: Recipe) -> dict[str, Inputs]:
    """The items of both sides below an encoder that is tuned: `query` and `document`, one row an item.

    So are further columns, by their names, where the strategy learns from them (see `engine.several.filled`).
    """
    parts: dict[str, Any] = {}
    found: dict[str, Inputs] = {}
    augments = zip(chain_cards("augment", recipe.augment), make_chain("augment", recipe.augment), strict=True)
    by_trait = [(card.traits, augment) for card, augment in augments]
    others = {side.column: side for side in collection.others()} if learns_from_sides(recipe, collection) else {}
    for name, side in {**sides_of(collection), **others}.items():
        part = parts.setdefault(side.modality, make("encode", encoder_of(side, recipe)))
        wanted = {"image": "pixels", "text": "words"}.get(side.modality)
        augment = [augment for traits, augment in by_trait if wanted in traits]
        items = items_of(filled(collection, name) if name in others else collection, side.column, side.modality)
        found[name] = Opened(items, part, low_rank=recipe.tune == "lora", augment=augment)
        if name == _negative_side(collection) and (columns := _negative_columns(collection)):
            texts = [
                text for row in zip(*map(collection.values, columns), strict=True) for text in row if text is not None
            ]
            if texts:
                items = items_of(Collection.of({"negative": texts}), "negative", side.modality)
                found["negative"] = Opened(items, part, low_rank=recipe.tune == "lora", augment=augment)
    return {"document": found["query"], **found}


def train_data(collection: Collection, vectors: FeaturesBySide, recipe: Recipe) -> TrainData:
    """Training pairs of a collection (its training part) with what the recipe's parts ask for by their traits.

    Args:
        vectors: as `features` gave them, one row an item of `collection`. Where an encoder is tuned they are only what
            guides and topics are made of.

    Raises:
        PartError: an encoder that the recipe wants to tune and that cannot be.
    """
    same = collection.sides().same_space
    given = _given(collection)
    if recipe.tune == "head":
        sides: dict[str, Inputs] = {"query": _side(vectors, "query")}
        sides["document"] = sides["query"] if same else _side(vectors, "document")
        if given is not None:
            sides["negative"] = Features(vectors["negative"][given.numpy() >= 0])
    else:
        check_together(collection, recipe)
        sides = opened(collection, recipe)
    keys = keys_of(collection, positives=recipe.positives)
    data = TrainData(
        sides["query"], sides["document"], keys, same, negative=sides.get("negative"), negatives=given,
        negative_side="document" if given is None else _negative_side(collection) or "document",
    )  # fmt: skip
    wanted = {t for c in chain_cards("relate", recipe.relate) for t in c.traits}
    wanted |= set(card_of("sample", parse_spec(recipe.sample)[0]).traits)
    wanted |= set(card_of("objective", parse_spec(recipe.objective)[0]).traits)
    wanted |= set(card_of("strategy", parse_spec(recipe.strategy)[0]).traits)
    if wanted & {"guide", "teacher", "teacher-margin"}:
        data = replace(data, guide=_guide(collection, vectors))
    if "topics" in wanted:
        data.extra["topic_vectors"] = vectors["query"]
    if "places" in wanted and (places := _places(collection)) is not None:
        data.extra["place_vectors"] = places
    if "scores" in wanted:
        data.extra["score"] = _scores(collection)
    if "subgroups" in wanted:
        data.extra["subgroup"] = subgroups(collection, recipe.strategy)
    if learns_from_sides(recipe, collection):
        check_together(collection, recipe)
        data = with_others(data, collection, vectors, sides)
    if "texts" in wanted:
        check_together(collection, recipe)
        data = with_terms(data, collection, recipe)
    if "captions" in wanted:
        data = with_captions(data, collection, recipe)
    if "sounds" in wanted:
        data = with_sounds(data, vectors)
    if "regions" in wanted:
        data = with_regions(data, collection, vectors, recipe)
    if "edges" in wanted or ("links" in wanted and EDGES in collection.columns):
        check_links(collection, recipe)
        data.extra["edges"] = _edges(collection)
    if "teacher-margin" in wanted:
        data.extra["teacher_margin"] = _margin(data)
    return data


def _given(collection: Collection) -> torch.Tensor | None:
    """[n, columns] numbers of the texts that are no answer, counted along the rows; -1 where an item has none."""
    columns = _negative_columns(collection)
    if not columns or _negative_side(collection) is None:
        return None
    there = np.stack([collection[column].is_valid().to_numpy() for column in columns], 1)
    return torch.from_numpy(np.where(there, there.cumsum().reshape(there.shape) - 1, -1)) if there.any() else None


def _places(collection: Collection) -> np.ndarray | None:
    """[n, 3] float32 points on the unit globe, whose inner product falls with their distance; None without columns.

    Raises:
        DataError: a row that is nowhere.
    """
    if not {"latitude", "longitude"} <= set(collection.columns):
        return None
    degrees = []
    for name, most in (("latitude", 90.0), ("longitude", 180.0)):
        try:
            x = np.asarray(collection.values(name), dtype=np.float64)
        except (TypeError, ValueError):
            x = np.full(len(collection), np.nan)
        wrong = np.flatnonzero(~(np.abs(x) <= most))
        if len(wrong):
            raise DataError(
                f"column {name!r} must hold degrees from -{most:g} to {most:g} in every row, and {len(wrong)} of "
                f"{len(x)} do not, the first being {collection.values(name)[wrong[0]]!r}; mend or remove the column"
            )
        degrees.append(np.radians(x))
    a, b = degrees
    return np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)], 1).astype(np.float32)


def _scores(collection: Collection) -> np.ndarray:
    """[n] float64 numbers of the column `score`.

    Raises:
        DataError: no such column, or a row without a number.
    """
    if "score" not in collection.columns:
        raise DataError(
            "the recipe learns from numbers, and there is no column `score`: name yours with --column score=NAME; the "
            f"columns are {', '.join(collection.columns)}"
        )
    found = np.asarray(collection.values("score"), dtype=np.float64)
    if missing := int(np.isnan(found).sum()):
        raise DataError(f"{missing} of {len(found)} training items have no `score`: leave them out, or fill them in")
    return found


def _edges(collection: Collection) -> np.ndarray:
    """[e, 3] int64: the rows at both ends of every link between two of these items, and the number of its relation.

    Raises:
        DataError: there is none.
    """
    row_of, found = collection.row_of, []
    number: dict[str, int] = {}
    for row, links in enumerate(collection.values(EDGES)):
        for link in links or []:
            if link["node"] in row_of:
                found.append((row, row_of[link["node"]], number.setdefault(link["relation"], len(number))))
    if not found:
        raise DataError("the recipe learns from links between items, and no two training items are linked: give more")
    return np.asarray(found, dtype=np.int64)


def _guide(collection: Collection, vectors: FeaturesBySide) -> tuple[torch.Tensor, torch.Tensor]:
    sides = collection.sides()
    query = _unit(vectors["query"])
    return query, _unit(vectors["document"]) if sides.comparable and not sides.same_space else query


def _unit(x: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(np.array(x, dtype=np.float32)), dim=1)


def _margin(data: TrainData) -> np.ndarray:
    """[n] the guide's score of a row's positive less that of its best wrong document, in blocks."""
    assert data.guide is not None
    q, k = data.guide
    margins = []
    for rows in torch.arange(len(q)).split(1024):
        sim = q[rows] @ k.T
        same = (data.keys.group[rows, None] == data.keys.group) | (data.keys.target[rows, None] == data.keys.target)
        margins.append((q[rows] * k[rows]).sum(1) - sim.masked_fill(same, -torch.inf).amax(1))
    return torch.cat(margins).nan_to_num(posinf=2.0).numpy()
