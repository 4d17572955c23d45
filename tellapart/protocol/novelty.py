"""Items of unseen classes told from those of known ones, by a score on frozen features or on trained vectors.

Each seed is a split of the classes: 60% are known, 20% are the unknown ones that everything is chosen on, 20% those of
the test. Of the known classes' items a half is fitted on, and 20% and 30% stand beside the unknown ones of validation
and test. Every contender chooses among its recipes, scores and their options by the AUROC of validation; the test is
looked at once. `merge` puts so many known classes at random under one label, so that a class has several kinds, of
which nothing is told.

Metrics: `auroc`, the chance that an unknown item scores above a known one, ties counted half; `fpr95`, the share of
unknown items that pass where the threshold lets 95% of the known ones through. With `, K kinds a class` where merged;
`against NAME` compares the variant with a further contender.

Options (`[options]` of the spec):
    baseline, variant: a contender each; further ones by name in `against`. A contender has
        scores: {spec: {option: values}}, chosen from; recipe: fields of a recipe, a list holds what is chosen from,
        none for the features as they are.
    merge: numbers, 1 for the labels as they are ([1]).
    epochs, batch_size, head: the budget of recipes, the same for all (30, 128, "mlp-head(dim=64)").

Data: those of the protocol `classify`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.errors import PartError
from tellapart.core.parts import make
from tellapart.protocol import _sets
from tellapart.protocol._unknown import auroc, fpr95

LOWER_IS_BETTER = ("fpr95",)
KNOWN = ("baseline", "variant", "against", "merge", "epochs", "batch_size", "head")
SHARES = (0.5, 0.2, 0.3)

Pair = tuple[np.ndarray, np.ndarray]  # known and unknown items


@dataclass(frozen=True)
class Split:
    """What is fitted on, [n, width] and [n] labels from 0, and the items of validation and test."""

    x: np.ndarray
    y: np.ndarray
    tune: Pair
    probe: Pair


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and one split of the classes."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol novelty has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    found: dict[str, tuple[float, float]] = {}
    for merge in options.get("merge", [1]):
        split = parted(data, seed, merge)
        measure = functools.partial(best, split, options=options, seed=seed)
        words = f", {merge} kinds a class" if merge > 1 else ""
        ours, others = measure(options["variant"]), {"": options["baseline"]}
        others |= {f" against {name}": contender for name, contender in options.get("against", {}).items()}
        for name, contender in others.items():
            other = measure(contender)
            found |= {f"{metric}{words}{name}": (other[metric], ours[metric]) for metric in ours}
    return found


def parted(data: str, seed: int, merge: int) -> Split:
    """The split of the classes that belongs to a seed; items are the same whatever is merged."""
    everything = _sets.load(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 21]))
    order = rng.permutation(np.unique(everything.y))
    known, held_out, unknown = np.split(order, (int(np.ceil(0.6 * len(order))), int(np.ceil(0.8 * len(order)))))
    pieces = _sets.split(everything.take(np.flatnonzero(np.isin(everything.y, known))), seed, SHARES)
    label = {each: place // merge for place, each in enumerate(known.tolist())}
    apart = [everything.x[np.isin(everything.y, some)] for some in (held_out, unknown)]
    y = np.array([label[each] for each in pieces[0].y.tolist()])
    return Split(pieces[0].x, y, (pieces[1].x, apart[0]), (pieces[2].x, apart[1]))


def best(split: Split, contender: Mapping[str, Any], *, options: Mapping[str, Any], seed: int) -> dict[str, float]:
    """The figures on the test of what a contender is best with on validation; of equals, the first."""
    most, figures = -1.0, {}
    for fields in choices(contender["recipe"]) if "recipe" in contender else [None]:
        seen = split if fields is None else trained(split, fields, options, seed)
        for name, grid in contender["scores"].items():
            for values in choices(grid):
                fitted = make("score", name, **values).fit(seen.x, seen.y)
                value = auroc(*(fitted.score(items) for items in seen.tune))
                if value > most:
                    scores = [fitted.score(items) for items in seen.probe]
                    most, figures = value, {"auroc": auroc(*scores), "fpr95": fpr95(*scores)}
    return figures


def choices(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the values that lists hold."""
    lists = [value if isinstance(value, list) else [value] for value in fields.values()]
    return [dict(zip(fields, values, strict=True)) for values in itertools.product(*lists)]


def trained(split: Split, fields: Mapping[str, Any], options: Mapping[str, Any], seed: int) -> Split:
    """The split with the vectors of a head that learnt the known classes."""
    import torch

    from tellapart.core.relation import Keys
    from tellapart.engine.fit import fit
    from tellapart.engine.inputs import Features, TrainData
    from tellapart.recipe import Recipe

    budget = {"epochs": options.get("epochs", 30), "batch_size": options.get("batch_size", 128)}
    recipe = Recipe.of({**budget, "head": options.get("head", "mlp-head(dim=64)"), **fields})
    item, inputs = torch.arange(len(split.y)), Features(split.x)
    fitted = fit(recipe, TrainData(inputs, inputs, Keys(item, item, torch.from_numpy(split.y)), True), seed=seed)
    vectors = functools.partial(fitted.encode, "query")
    tune, probe = ((vectors(known), vectors(unknown)) for known, unknown in (split.tune, split.probe))
    return Split(vectors(split.x), split.y, tune, probe)
