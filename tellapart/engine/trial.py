"""One recipe, one seed: train on the training part, measure on held-out items. What `run` and `compare` repeat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.hits import Hits
from tellapart.core.parts import make_chain
from tellapart.core.progress import Progress
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.engine.fit import Fitted, fit, untrained
from tellapart.engine.prepare import FeaturesBySide, opened, train_data
from tellapart.engine.towers import encoded
from tellapart.recipe import Recipe

METRICS = ("R@1", "R@10", "nDCG@10")
MOST_REORDERED = 5000
Encode = Callable[[str, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """What a trial found.

    Attributes:
        values: [n] per query by figure, such as `text-to-image R@10`.
        seconds: of training.
        encode: (side, [n] rows of the collection) -> [n, d] unit vectors.
        fitted: the trained run; None where nothing was trained.
    """

    values: dict[str, np.ndarray]
    seconds: float
    encode: Encode = field(repr=False)
    fitted: Fitted | None = field(default=None, repr=False)

    def mean(self, name: str) -> float:
        """The figure over all its queries."""
        return float(np.nanmean(self.values[name]))


def held_out(collection: Collection, part: str) -> np.ndarray:
    """[n] rows of a split, one item for each concept where the collection knows concepts.

    Variants of one concept answer each other's queries; one of each keeps the question fair and the intervals honest.
    """
    rows = np.flatnonzero(np.asarray(collection.values("split"), dtype=object) == part)
    if "concept" not in collection.columns:
        return rows
    concepts = collection.codes("concept")[0][rows]
    _, first = np.unique(concepts, return_index=True)
    return rows[np.sort(first)]


def directions(collection: Collection) -> list[tuple[str, str, str]]:
    """(name, side asked with, side asked for): `text-to-image`, then `image-to-text`; one for a single column."""
    sides = collection.sides()
    there = (f"{sides.query.column}-to-{sides.document.column}", "query", "document")
    back = (f"{sides.document.column}-to-{sides.query.column}", "document", "query")
    return [there] if sides.same_space else [there, back]


def measure(collection: Collection, encode: Encode, *, part: str, rank: str = "") -> dict[str, np.ndarray]:
    """Figures per query of a part of the split, in both directions.

    Args:
        encode: (side, [n] rows of the collection) -> [n, d] unit vectors.
        rank: a chain of parts that reorder what is found; they are fitted on the training part.
    """
    rows = held_out(collection, part)
    sides = collection.sides()
    target = collection.codes(sides.target)[0][rows] if sides.target else np.arange(len(rows))
    encoded = {side: encode(side, rows) for side in ("query", "document")}
    bank = held_out(collection, "train")
    found: dict[str, np.ndarray] = {}
    for name, asking, asked in directions(collection):
        alone: dict[str, Any] = {"ids": (rows, rows), "own": "exclude"} if sides.same_space else {}
        q, k = encoded[asking], encoded[asked]
        if rank:
            banked = {side: encode(side, bank) for side in (asking, asked)}
            q, k = _reordered(rank, q, k, collection.ids[rows], banked[asking], banked[asked], collection.ids[bank])
        figures = retrieval(q, k, Relevant.by_target(target, target), **alone)
        found |= {f"{name} {metric}": figures[metric] for metric in METRICS}
    return found


def _reordered(
    rank: str, q: np.ndarray, k: np.ndarray, ids: np.ndarray, bank_q: np.ndarray, bank_k: np.ndarray, bank: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The scores after the rank parts, as vectors whose products they are; hits that were cut off come last."""
    if len(k) > MOST_REORDERED:
        raise DataError(f"rank parts are measured on at most {MOST_REORDERED} held-out items, and there are {len(k)}")
    names = ids.astype(str)
    hits = Hits.sorted(np.tile(names, (len(q), 1)), q @ k.T)
    row_of = {name: row for row, name in enumerate(names.tolist())}
    pairs = np.stack([np.arange(len(bank))] * 2, axis=1)
    for part in make_chain("rank", rank):
        part.fit(bank_q, bank_k, query_ids=bank.astype(str), ids=bank.astype(str), pairs=pairs)
        hits = part.rank(q, hits, lambda wanted: k[[row_of[name] for name in np.asarray(wanted).tolist()]])
    scores = np.full((len(q), len(k)), hits.scores[hits.ids != ""].min() - 1, dtype=np.float32)
    for row, (found, values) in enumerate(zip(hits.ids, hits.scores, strict=True)):
        kept = found != ""
        scores[row, [row_of[name] for name in found[kept].tolist()]] = values[kept]
    return scores, np.eye(len(k), dtype=np.float32)


def trial(
    collection: Collection,
    vectors: FeaturesBySide,
    recipe: Recipe,
    *,
    seed: int,
    part: str = "test",
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Train a recipe on the training part and measure it on another part.

    Args:
        collection: with the column `split`.
        vectors: frozen features by side, one row an item of the collection.
        folder: for checkpoints, so that a killed trial goes on.
    """
    rows = np.flatnonzero(np.asarray(collection.values("split"), dtype=object) == "train")
    data = train_data(collection.take(rows), {side: x[rows] for side, x in vectors.items()}, recipe)
    fitted = fit(recipe, data, seed=seed, folder=folder, progress=progress)
    encode = _encode(collection, vectors, fitted)
    return Outcome(measure(collection, encode, part=part, rank=recipe.rank), fitted.seconds, encode, fitted)


def _encode(collection: Collection, vectors: FeaturesBySide, fitted: Fitted) -> Encode:
    """The towers on rows of the collection: on their frozen features, or on the items where an encoder was tuned."""
    if fitted.recipe.tune == "head":
        return lambda side, rows: fitted.encode(side, np.asarray(vectors[side][rows]))
    inputs, towers = opened(collection, fitted.recipe), fitted.towers
    device = next(towers.parameters()).device
    return lambda side, rows: encoded(towers[side], inputs[side], rows, device).cpu().numpy()


def without_training(
    collection: Collection, vectors: FeaturesBySide, recipe: Recipe, *, seed: int, part: str = "test"
) -> Outcome:
    """The same figures before any training.

    Where both sides come from one encoder its own vectors are compared; otherwise heads of random weights are, which
    is chance. An encoder that the recipe tunes is as yet what gave the features.
    """
    recipe = recipe.but(tune="head")
    if vectors["query"].shape[1] == vectors["document"].shape[1]:

        def own(side: str, rows: np.ndarray) -> np.ndarray:
            return _unit(np.asarray(vectors[side][rows]))

        return Outcome(measure(collection, own, part=part), 0.0, own)
    rows = np.flatnonzero(np.asarray(collection.values("split"), dtype=object) == "train")
    data = train_data(collection.take(rows), {side: x[rows] for side, x in vectors.items()}, recipe)
    fitted = untrained(recipe, data, seed=seed)
    encode = _encode(collection, vectors, fitted)
    return Outcome(measure(collection, encode, part=part), 0.0, encode)


def _unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), dtype=np.float32)
