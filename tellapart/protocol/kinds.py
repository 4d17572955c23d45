"""Strategies that are to bring items of one kind together untold: pairs to train on, kinds to judge by.

Towers are linear heads on frozen features, trained on the pairs alone. Each recipe chooses among its options by the
validation part; the test part is looked at once. Metrics: accuracy of the nearest mean in few-shot episodes of kinds
(as in the protocol `episodes`, by the vectors of the documents), and nDCG@10 of finding the right document and the
right query, the mean of both, which shows what that costs.

Data: `wordnet` (words and glosses of nouns; kinds are the 26 lexicographer files) and `docstrings` (docstrings and
functions of Python's library; kinds are its packages).

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    controls: further recipes (changes of the variant) that the variant is compared with.
    train_items, batch_size, epochs: the budget, the same for all (1500, 128, 12).
    ways, shots, queries, episodes: see the protocol `episodes`.
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
from tellapart.data.splits import split
from tellapart.data.spool import cache_folder
from tellapart.engine.trial import directions, trial
from tellapart.protocol._sets import Labelled, shipped
from tellapart.protocol.episodes import accuracies, drawn_episodes, standardised
from tellapart.recipe import Recipe

DATA = ("wordnet", "docstrings")
MOST, A_KIND = 4000, 150
HEAD = "linear-head(dim=128)"

Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one collection and one seed."""
    if data not in DATA:
        raise DataError(f"the protocol kinds knows {', '.join(DATA)}, not {data!r}")
    options = spec["options"]
    base, ours = (chosen(data, seed, options, options[name]) for name in ("baseline", "variant"))
    found = {metric: (base[metric], ours[metric]) for metric in ours}
    for control in options.get("controls", []):
        other = chosen(data, seed, options, options["variant"] | control)
        words = ", ".join(f"{k}={v}" for k, v in control.items())
        found |= {f"{metric} against {words}": (other[metric], ours[metric]) for metric in ours}
    return found


def chosen(data: str, seed: int, options: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The test figures of the recipe that has the best accuracy, over all numbers of shots, on the validation part."""
    budget = {"head": HEAD, "batch_size": options.get("batch_size", 128), "epochs": options.get("epochs", 12)}
    fields = budget | dict(fields)
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    return max((measured(data, recipe, seed, options) for recipe in recipes), key=lambda f: f[0])[1]


@functools.cache
def kinds(data: str) -> tuple[Collection, dict[str, np.ndarray], np.ndarray]:
    """Pairs with their duplicate groups, frozen features of both sides, and the kind of every pair."""
    from tellapart.engine.prepare import features

    made = shipped(data)
    if data == "wordnet":
        names = np.asarray(made.values("lexname"))
        rows = [np.flatnonzero(names == name) for name in np.unique(names) if name.startswith("noun.")]
        rows = [r[np.linspace(0, len(r) - 1, min(len(r), A_KIND)).astype(int)] for r in rows]
        made = made.take(np.sort(np.concatenate(rows)))
        kind = made.values("lexname")
    else:
        made = made.take(np.linspace(0, len(made) - 1, min(len(made), MOST)).astype(int))
        kind = [f"{module}.".split(".")[1] for module in made.values("concept")]
    made = curate(made)
    found = features(made, Recipe(), cache=cache_folder(None, "evidence-vectors"))
    return made, {side: np.array(x) for side, x in found.items()}, np.asarray(kind)


def measured(data: str, recipe: Recipe, seed: int, options: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    """(mean accuracy on validation, figures on test) of a recipe."""
    made, vectors, kind = kinds(data)
    parted = split(made, seed=seed, shares=(0.6, 0.15, 0.25), by="group")
    part = np.asarray(parted.values("split"), dtype=object)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(part == "train"))
    part[order[options.get("train_items", 1500) :]] = "unused"
    parted = parted.with_column("split", list(part))
    outcome = trial(parted, vectors, recipe, seed=seed, part="test")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 5]))
    figures: dict[str, Any] = {}
    on_validation = []
    for shots in options.get("shots", [1, 5]):
        for name in ("validation", "test"):
            rows = np.flatnonzero(part == name)
            held = Labelled(standardised(outcome.encode("document", rows)), kind[rows], rows)
            right = accuracies("nearest-mean", {}, drawn_episodes(held, dict(options), shots, rng))
            if name == "test":
                figures[f"accuracy of kinds, {shots} shots"] = right
            else:
                on_validation.append(float(right.mean()))
    ways = [f"{name} nDCG@10" for name, _, _ in directions(parted)]
    figures["nDCG@10, both directions"] = float(np.mean([outcome.mean(way) for way in ways]))
    return float(np.mean(on_validation)), figures
