"""Strategies that train one direction of a search more than the other: what each direction gains and loses.

Pairs (`openmoji`, `docstrings`) under frozen encoders with small heads. Every recipe is trained for the same number of
steps, chooses its options by the validation part of the direction that it is judged in, and is looked at once on the
test part. For each of the two trainings of one direction, `variant` towards the documents and `other` towards the
queries: R@1 and R@10 of its own direction, against `baseline` (both directions alike), and against the training of the
other direction.

Options (`[options]` of the spec):
    baseline, variant, other: fields of the recipe; a list holds what is chosen from.
    train_items, epochs, head, batch_size: the budget, the same for all.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from tellapart.core.errors import DataError, PartError
from tellapart.engine.trial import directions, measure, trial
from tellapart.protocol._sets import shipped
from tellapart.recipe import Recipe

PAIRS = ("openmoji", "docstrings")
KNOWN = ("baseline", "variant", "other", "train_items", "epochs", "head", "batch_size")
MOST_PAIRS = 4000
METRICS = ("R@1", "R@10")
Figures = dict[str, tuple[Any, Any]]
Found = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]  # figures per query of the validation and the test part


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol one_direction has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in PAIRS:
        raise DataError(f"the protocol one_direction knows {', '.join(PAIRS)}, not {data!r}")
    budget = {"batch_size": options.get("batch_size", 128), "epochs": options.get("epochs", 20)}
    budget["head"] = options.get("head", "linear-head(dim=128)")
    tried = {
        name: [trained(data, seed, recipe, options.get("train_items", MOST_PAIRS)) for recipe in made(budget, fields)]
        for name in ("baseline", "variant", "other")
        for fields in (options[name],)
    }
    figures: Figures = {}
    named = [name for name, _, _ in directions(parted(data, seed)[0])]
    for direction, own, opposite in ((named[0], "variant", "other"), (named[1], "other", "variant")):
        best = {name: chosen(tried[name], direction) for name in tried}
        for metric in METRICS:
            key = f"{direction} {metric}"
            figures[key] = (best["baseline"][key], best[own][key])
            figures[f"{key}, against training the other direction"] = (best[opposite][key], best[own][key])
    return figures


def made(budget: Mapping[str, Any], fields: Mapping[str, Any]) -> list[Recipe]:
    """A recipe for every combination of what is chosen from."""
    lists = {k: v if isinstance(v, list) else [v] for k, v in (dict(budget) | dict(fields)).items()}
    return [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]


def chosen(tried: list[Found], direction: str) -> dict[str, np.ndarray]:
    """The test figures of what finds best in this direction on the validation part."""
    key = f"{direction} nDCG@10"
    return max(tried, key=lambda found: float(np.nanmean(found[0][key])))[1]


@functools.cache
def parted(data: str, seed: int) -> tuple[Any, dict[str, np.ndarray]]:
    """A collection of pairs with its split, and frozen features of both sides."""
    from tellapart.data.identity import curate
    from tellapart.data.splits import split
    from tellapart.data.spool import cache_folder
    from tellapart.engine.prepare import features

    pairs = shipped(data)
    if len(pairs) > MOST_PAIRS:
        pairs = pairs.take(np.linspace(0, len(pairs) - 1, MOST_PAIRS).astype(int))
    pairs = curate(pairs)
    cache = cache_folder(None, "evidence-vectors")
    vectors = {side: np.array(x) for side, x in features(pairs, Recipe(), cache=cache).items()}
    return split(pairs, seed=seed, shares=(0.6, 0.15, 0.25)), vectors


def trained(data: str, seed: int, recipe: Recipe, train_items: int) -> Found:
    """Figures per query of a recipe on the validation and the test part."""
    pairs, vectors = parted(data, seed)
    side = np.asarray(pairs.values("split"), dtype=object)
    side[np.random.default_rng(seed).permutation(np.flatnonzero(side == "train"))[train_items:]] = "unused"
    pairs = pairs.with_column("split", list(side))
    outcome = trial(pairs, vectors, recipe, seed=seed, part="test")
    return measure(pairs, outcome.encode, part="validation"), outcome.values
