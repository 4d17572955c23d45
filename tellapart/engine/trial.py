"""One recipe, one seed: train on the training part, measure on held-out items. What `run` and `compare` repeat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.progress import Progress
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.engine.fit import Fitted, fit, untrained
from tellapart.engine.prepare import FeaturesBySide, train_data
from tellapart.recipe import Recipe

METRICS = ("R@1", "R@10", "nDCG@10")
Encode = Callable[[str, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """What a trial found.

    Attributes:
        values: [n] per query by figure, such as `text-to-image R@10`.
        seconds: of training.
        fitted: the trained run; None where nothing was trained.
    """

    values: dict[str, np.ndarray]
    seconds: float
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


def measure(collection: Collection, vectors: FeaturesBySide, encode: Encode, *, part: str) -> dict[str, np.ndarray]:
    """Figures per query of a part of the split, in both directions.

    Args:
        vectors: frozen features by side, one row an item.
        encode: (side, [n, width] features) -> [n, d] unit vectors.
    """
    rows = held_out(collection, part)
    sides = collection.sides()
    target = collection.codes(sides.target)[0][rows] if sides.target else np.arange(len(rows))
    encoded = {side: encode(side, np.asarray(vectors[side][rows])) for side in ("query", "document")}
    found = {}
    for name, asking, asked in directions(collection):
        alone = {"ids": (rows, rows), "own": "exclude"} if sides.same_space else {}
        figures = retrieval(encoded[asking], encoded[asked], Relevant.by_target(target, target), **alone)  # type: ignore[arg-type]
        found |= {f"{name} {metric}": figures[metric] for metric in METRICS}
    return found


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
    return Outcome(measure(collection, vectors, fitted.encode, part=part), fitted.seconds, fitted)


def without_training(
    collection: Collection, vectors: FeaturesBySide, recipe: Recipe, *, seed: int, part: str = "test"
) -> Outcome:
    """The same figures before any training.

    Where both sides come from one encoder its own vectors are compared; otherwise heads of random weights are, which
    is chance.
    """
    if vectors["query"].shape[1] == vectors["document"].shape[1]:
        return Outcome(measure(collection, vectors, lambda side, x: _unit(x), part=part), 0.0)
    rows = np.flatnonzero(np.asarray(collection.values("split"), dtype=object) == "train")
    data = train_data(collection.take(rows), {side: x[rows] for side, x in vectors.items()}, recipe)
    fitted = untrained(recipe, data, seed=seed)
    return Outcome(measure(collection, vectors, fitted.encode, part=part), 0.0)


def _unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), dtype=np.float32)
