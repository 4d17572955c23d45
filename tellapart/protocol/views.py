"""Strategies and augmentations that compare texts with altered copies of themselves, on source text and its docstrings.

Towers are linear heads on frozen features of both sides and of altered copies, which the recipe's word parts make. Each
recipe chooses among its options by the validation part; the test part, modules never trained on, is looked at once. The
metric is the mean reciprocal rank of the right function for a docstring, the paper's, and nDCG@10 in both directions.

Data: `docstrings` (Python's own library) and `scikit-learn` (its package).

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    controls: further recipes (changes of the variant) that the variant is compared with.
    pairs, batch_size, epochs: the budget, the same for all (800, 128, 12).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.identity import curate
from tellapart.data.shipped import docstrings
from tellapart.data.splits import split
from tellapart.data.spool import cache_folder
from tellapart.engine.trial import searched, trial
from tellapart.recipe import Recipe

PACKAGES = {"docstrings": (), "scikit-learn": ("sklearn",)}
TEXT = "minilm(max_tokens=64)"
HEAD = "linear-head(dim=128)"
DIRECTIONS = (("query", "document"), ("document", "query"))

Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one collection and one seed."""
    if data not in PACKAGES:
        raise DataError(f"the protocol views knows {', '.join(PACKAGES)}, not {data!r}")
    options = spec["options"]
    base = chosen(data, seed, options, options["baseline"])
    ours = chosen(data, seed, options, options["variant"])
    found = {metric: (base[metric], ours[metric]) for metric in ours}
    for control in options.get("controls", []):
        other = chosen(data, seed, options, options["variant"] | control)
        words = ", ".join(f"{k}={v}" for k, v in control.items())
        found |= {f"{metric} against {words}": (other[metric], ours[metric]) for metric in ours}
    return found


def chosen(data: str, seed: int, options: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, float]:
    """The test figures of the recipe that has the best reciprocal rank on the validation part."""
    budget = {"text": TEXT, "head": HEAD, "batch_size": options.get("batch_size", 128)}
    fields = budget | {"epochs": options.get("epochs", 12)} | dict(fields)
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    found = [measured(data, recipe, seed, options.get("pairs", 800)) for recipe in recipes]
    return max(found, key=lambda f: f[0])[1]


@functools.cache
def collected(data: str, pairs: int) -> Collection:
    """Functions with their docstrings, and their duplicate groups."""
    made = docstrings(PACKAGES[data])
    return curate(made.take(np.linspace(0, len(made) - 1, min(pairs, len(made))).astype(int)))


@functools.lru_cache(maxsize=4)
def embedded(data: str, pairs: int, augment: str) -> dict[str, np.ndarray]:
    """Frozen features of both sides, and of altered copies where parts make some."""
    from tellapart.engine.prepare import features

    recipe = Recipe(text=TEXT, augment=augment)
    found = features(collected(data, pairs), recipe, cache=cache_folder(None, "evidence-vectors"))
    return {name: np.array(x) for name, x in found.items()}


@functools.lru_cache(maxsize=64)
def measured(data: str, recipe: Recipe, seed: int, pairs: int) -> tuple[float, dict[str, float]]:
    """(reciprocal rank on validation, figures on test) of a recipe."""
    made = split(collected(data, pairs), seed=seed, shares=(0.6, 0.15, 0.25))
    # Modules are held out whole, but every function is asked for that is no duplicate of another.
    made = made.with_column("concept", made.numbers("group"))
    outcome = trial(made, embedded(data, pairs, recipe.augment), recipe, seed=seed, part="test")

    def figure(part: str, metric: str, asking: str, asked: str) -> float:
        return float(np.nanmean(searched(made, outcome.encode, part=part, asking=asking, asked=asked)[metric]))

    test = {
        "MRR@10, docstring to function": figure("test", "MRR@10", "query", "document"),
        "nDCG@10, both directions": float(np.mean([figure("test", "nDCG@10", *way) for way in DIRECTIONS])),
    }
    return figure("validation", "MRR@10", "query", "document"), test
