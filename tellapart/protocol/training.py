"""Objectives, relations, samplers, augmentations and strategies: a recipe with the part against one without it.

Both sides are trained on the same pairs for the same number of steps; each chooses among its options by the validation
part; the test part is looked at once. Options of the spec:

- `baseline`, `variant`: fields of the recipe; a list holds what is chosen from.
- `batch_sizes`: one comparison each.
- `controls`: further recipes (changes of the baseline) that the variant is compared with.
- `train_items`, `epochs`, `head`: the budget, the same for all.

On pairs (`openmoji`, `docstrings`) towers are small heads on frozen features; the figure is nDCG@10, the mean of both
directions, on concepts or modules never trained on. On `digits` and `fashion` a small network learns from pixels, and
the figure is the share of held-out pictures whose nearest held-out neighbour has their label.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import chain_cards, make, make_chain
from tellapart.core.relation import Keys
from tellapart.data.identity import curate
from tellapart.data.splits import split
from tellapart.data.spool import cache_folder
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Pictures, TrainData
from tellapart.engine.trial import directions, measure, trial
from tellapart.protocol._sets import shipped
from tellapart.recipe import Recipe

PAIRS, PIXELS = ("openmoji", "docstrings"), ("digits", "fashion")
HEAD = "linear-head(dim=128)"
MOST_PAIRS, HELD_OUT = 4000, 1000
KNOWN = ("baseline", "variant", "batch_sizes", "controls", "train_items", "epochs", "head")

Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec.get("options", {})
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol training has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in PAIRS + PIXELS:
        raise DataError(f"the protocol training knows {', '.join(PAIRS + PIXELS)}, not {data!r}")
    figures: Figures = {}
    for batch_size in options.get("batch_sizes", [256]):
        budget = {"batch_size": batch_size, "epochs": options.get("epochs", 20), "head": options.get("head", HEAD)}
        base = _chosen(data, seed, options, budget | options.get("baseline", {}))
        ours = _chosen(data, seed, options, budget | options.get("variant", {}))
        at = f" (batch {batch_size})"
        figures[_name(data) + at] = (base, ours)
        for control in options.get("controls", []):
            other = _chosen(data, seed, options, budget | options.get("baseline", {}) | control)
            words = ", ".join(f"{k}={v}" for k, v in control.items())
            figures[f"{_name(data)} against {words}{at}"] = (other, ours)
    return figures


def _name(data: str) -> str:
    return "nDCG@10" if data in PAIRS else "nearest neighbour accuracy"


def _chosen(data: str, seed: int, options: Mapping[str, Any], fields: dict[str, Any]) -> float:
    """The test figure of the recipe that is best on the validation part."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    score = _pairs if data in PAIRS else _pixels
    found = [score(data, recipe, seed, options.get("train_items", MOST_PAIRS)) for recipe in recipes]
    return max(found, key=lambda f: f[0])[1]


@functools.cache
def _pairs_of(data: str) -> tuple[Collection, dict[str, np.ndarray]]:
    """A collection of pairs with its duplicate groups, and frozen features of both sides."""
    from tellapart.engine.prepare import features

    made = shipped(data)
    if len(made) > MOST_PAIRS:
        made = made.take(np.linspace(0, len(made) - 1, MOST_PAIRS).astype(int))
    made = curate(made)
    cache = cache_folder(None, "evidence-vectors")
    return made, {side: np.array(x) for side, x in features(made, Recipe(), cache=cache).items()}


def _pairs(data: str, recipe: Recipe, seed: int, train_items: int) -> tuple[float, float]:
    """(validation, test) figures of a recipe on pairs."""
    made, vectors = _pairs_of(data)
    parted = split(made, seed=seed, shares=(0.6, 0.15, 0.25))
    side = np.asarray(parted.values("split"), dtype=object)
    spare = np.random.default_rng(seed).permutation(np.flatnonzero(side == "train"))[train_items:]
    side[spare] = "unused"
    parted = parted.with_column("split", list(side))
    outcome = trial(parted, vectors, recipe, seed=seed, part="test")
    on_validation = measure(parted, outcome.encode, part="validation")
    names = [f"{name} nDCG@10" for name, _, _ in directions(parted)]
    mean = [float(np.mean([np.nanmean(values[n]) for n in names])) for values in (on_validation, outcome.values)]
    return mean[0], mean[1]


@functools.cache
def _pixels_of(data: str) -> tuple[np.ndarray, np.ndarray]:
    """[n, side, side, 3] uint8 pictures and [n] int64 labels."""
    from tellapart.data.shipped import pixels

    made = shipped(data)
    rows = np.linspace(0, len(made) - 1, min(len(made), 8000)).astype(int)
    made = made.take(rows)
    x = pixels(made)
    x = x if x.shape[1] >= 28 else x.repeat(4, axis=1).repeat(4, axis=2)
    return np.repeat(x[..., None], 3, axis=3), made.codes("label")[0]


def _pixels(data: str, recipe: Recipe, seed: int, train_items: int) -> tuple[float, float]:
    """(validation, test) figures of a recipe on pixels."""
    x, y = _pixels_of(data)
    order = np.random.default_rng(seed).permutation(len(x))
    held = min(HELD_OUT, len(x) // 4)
    validation, test, train = np.split(order, [held, 2 * held])
    train = train[:train_items]
    cards = chain_cards("augment", recipe.augment)
    parts = make_chain("augment", recipe.augment)
    augment = [part for card, part in zip(cards, parts, strict=True) if "pixels" in card.traits]
    encoder = make("encode", recipe.image)
    inputs = Pictures(x[train], encoder, augment)
    item = torch.arange(len(train))
    fitted = fit(recipe, TrainData(inputs, inputs, Keys(item, item, torch.from_numpy(y[train])), True), seed=seed)

    def accuracy(rows: np.ndarray) -> float:
        with torch.no_grad():
            parts = [Pictures(x[r], encoder).batch(np.arange(len(r)), seed=None) for r in np.array_split(rows, 8)]
            z = torch.cat([fitted.towers["query"](part) for part in parts]).numpy()
        answers = Relevant.by_target(y[rows], y[rows])
        return float(np.nanmean(retrieval(z, z, answers, ks=(1,), ids=(rows, rows), own="exclude")["Success@1"]))

    return accuracy(validation), accuracy(test)
