"""Strategies and objectives on a few labelled items: a recipe with the part against one without it.

A head on frozen features is trained by both recipes on the same items for the same number of steps. A logistic
regression is fitted on the vectors of each, and its accuracy on the test share is compared item by item, beside the
scatter of the test vectors: their variance within classes over that between the class means. Recipes are chosen by the
accuracy on the validation share; the test share is looked at once.

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    controls: further recipes (changes of the variant) that the variant is compared with.
    untrained: true to compare with a logistic regression on the frozen features as well.
    shots: items a class (20).
    steps, batch_size, head: the budget, the same for all.

Data: those of the protocol `classify`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tellapart.core.errors import PartError
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.protocol import _sets
from tellapart.protocol._sets import Labelled
from tellapart.protocol.classify import draw, enough, right
from tellapart.recipe import Recipe

LOWER_IS_BETTER = ("scatter",)
KNOWN = ("baseline", "variant", "controls", "untrained", "shots", "steps", "batch_size", "head")
SHARES = (0.5, 0.2, 0.3)

Parts = tuple[Labelled, Labelled, Labelled]
Measured = tuple[float, np.ndarray, float]  # validation accuracy, [test items] right or wrong, scatter


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol labels has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    shots = options.get("shots", 20)
    everything, validation, test = _sets.split(enough(_sets.load(data), shots), seed, SHARES)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    parts = (everything.take(draw(everything.y, shots, rng)), validation, test)
    budget = {"batch_size": options.get("batch_size", 64), "head": options.get("head", "linear-head(dim=64)")}
    budget["epochs"] = math.ceil(options.get("steps", 200) / max(1, len(parts[0].y) // budget["batch_size"]))
    ours = _chosen(parts, seed, budget | options["variant"])
    others = {"": _chosen(parts, seed, budget | options["baseline"])}
    for control in options.get("controls", []):
        words = ", ".join(f"{name}={value}" for name, value in control.items())
        others[f" against {words}"] = _chosen(parts, seed, budget | options["variant"] | control)
    if options.get("untrained"):
        others[" against frozen features"] = measured(parts)
    figures: dict[str, tuple[Any, Any]] = {}
    for words, other in others.items():
        figures[f"accuracy{words}"] = (other[1], ours[1])
        figures[f"scatter{words}"] = (other[2], ours[2])
    return figures


def _chosen(parts: Parts, seed: int, fields: Mapping[str, Any]) -> Measured:
    """The figures of the recipe that is best on the validation share."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    return max((_trained(parts, seed, recipe) for recipe in recipes), key=lambda found: found[0])


def _trained(parts: Parts, seed: int, recipe: Recipe) -> Measured:
    few = parts[0]
    inputs, item = Features(few.x), torch.arange(len(few.y))
    group, target = (torch.from_numpy(np.unique(values, return_inverse=True)[1]) for values in (few.group, few.y))
    fitted = fit(recipe, TrainData(inputs, inputs, Keys(item, group, target), True), seed=seed)
    train, validation, test = (Labelled(fitted.encode("query", p.x), p.y, p.group) for p in parts)
    return measured((train, validation, test))


def measured(parts: Parts) -> Measured:
    """What a logistic regression makes of the vectors of the three shares, and how the test vectors scatter."""
    train, validation, test = parts
    classifier = make("classify", "logistic-regression").fit(train.x, train.y)
    return float(right(classifier, validation).mean()), right(classifier, test), scatter(test.x, test.y)


def scatter(x: np.ndarray, y: np.ndarray) -> float:
    """Variance of [n, d] vectors about the means of their classes, over that of the means, items counted alike."""
    _, codes = np.unique(y, return_inverse=True)
    means = np.stack([x[codes == c].mean(axis=0) for c in range(codes.max() + 1)])[codes]
    between = float(((means - x.mean(axis=0)) ** 2).sum())
    return float(((x - means) ** 2).sum()) / max(between, 1e-12)
