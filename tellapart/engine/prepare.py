"""From a collection to what training and measuring need: frozen features of both sides, keys, guide, topics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tellapart.core.collection import Collection, Side
from tellapart.core.parts import card_of, chain_cards, make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.engine.embed import embed
from tellapart.engine.inputs import Features, TrainData, keys_of
from tellapart.recipe import Recipe

FeaturesBySide = dict[str, np.ndarray]


def features(collection: Collection, recipe: Recipe, *, cache: Path, stages: Stages | None = None) -> FeaturesBySide:
    """Frozen vectors by side: `query` and `document`, [n, width] each, and `guide` where the collection has one.

    The guide judges which pairs of a batch mean the same. For pairs of text it is the frozen encoder itself; for
    pictures with captions it is the text encoder on the captions of both sides, which needs no common space.
    """
    stages = stages or Silence()
    sides = collection.sides()
    found = {name: _embedded(collection, side, recipe, cache, stages) for name, side in _sides(collection).items()}
    if sides.same_space:
        found["document"] = found["query"]
    return found


def _sides(collection: Collection) -> dict[str, Side]:
    sides = collection.sides()
    return {"query": sides.query} if sides.same_space else {"query": sides.query, "document": sides.document}


def _embedded(collection: Collection, side: Side, recipe: Recipe, cache: Path, stages: Stages) -> np.ndarray:
    spec = recipe.image if side.modality == "image" else recipe.text
    with stages.stage(f"embed {side.column} with {parse_spec(spec)[0]}") as progress:
        return embed(collection, side.column, make("encode", spec), cache=cache, progress=progress)


def train_data(collection: Collection, vectors: FeaturesBySide, recipe: Recipe) -> TrainData:
    """Training pairs of a collection (its training part) with what the recipe's parts ask for by their traits.

    Args:
        vectors: as `features` gave them, one row an item of `collection`.
    """
    query = Features(vectors["query"])
    same = collection.sides().same_space
    document = query if same else Features(vectors["document"])
    data = TrainData(query, document, keys_of(collection, positives=recipe.positives), same)
    wanted = {t for c in chain_cards("relate", recipe.relate) for t in c.traits}
    wanted |= set(card_of("sample", parse_spec(recipe.sample)[0]).traits)
    wanted |= set(card_of("objective", parse_spec(recipe.objective)[0]).traits)
    if wanted & {"guide", "teacher", "teacher-margin"}:
        data = replace(data, guide=_guide(collection, vectors))
    if "topics" in wanted:
        data.extra["topic_vectors"] = vectors["query"]
    if "teacher-margin" in wanted:
        data.extra["teacher_margin"] = _margin(data)
    return data


def _guide(collection: Collection, vectors: FeaturesBySide) -> tuple[torch.Tensor, torch.Tensor]:
    sides = collection.sides()
    query = _unit(vectors["query"])
    across = sides.query.modality != sides.document.modality
    return query, query if across or sides.same_space else _unit(vectors["document"])


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
