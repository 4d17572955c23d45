"""A classifier of a rare class against its baseline, on frozen features.

One class, another for every seed, is the rare one, and all others together are the rest. The training share keeps one
rare item for every `odds` of the rest; the validation share, on which options are chosen, and the test share, which is
looked at once, keep all of theirs. Two figures: the area under the ROC curve (AUC), which no cut-off changes, and the
balanced accuracy (the mean of the two recalls) of the classes that are named; options are chosen for each by itself.

Options (`[options]` of the spec):
    odds: items of the rest for a rare one in training (50).
    grid: {option: list of values} that part, baseline and controls all choose from.
    learners: lists of specs, each a list to choose `inner` from and figures of its own; left out: none is named.
    controls: specs of further classifiers that the part is compared with.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.protocol import _sets
from tellapart.protocol._sets import Labelled
from tellapart.protocol._unknown import auroc

SHARES = (0.5, 0.2, 0.3)
KNOWN = ("odds", "grid", "learners", "controls")
Measure = Callable[[Any, Labelled], float]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and one rare class."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol imbalance has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    train, validation, test = _sets.split(rare(_sets.load(data), seed), seed, SHARES)
    train = thinned(train, options.get("odds", 50), seed)
    figures = {}
    for specs in options.get("learners", [[]]):
        grid, learner = options.get("grid", {}), ""
        if specs:
            grid, learner = grid | {"inner": specs}, f", {parse_spec(specs[0])[0]}"
        ours = fitted(spec["part"], grid, train)
        others = {"": fitted(spec["baseline"], grid, train)}
        others |= {f" against {other}": fitted(other, grid, train) for other in options.get("controls", [])}
        for name, measure in (("AUC", area), ("balanced accuracy", balanced)):
            variant = measure(_best(ours, measure, validation), test)
            for words, candidates in others.items():
                base = measure(_best(candidates, measure, validation), test)
                figures[name + learner + words] = (base, variant)
    return figures


def rare(data: Labelled, seed: int) -> Labelled:
    """The items with labels 1 (the rare class of this seed) and 0 (the rest)."""
    classes = np.unique(data.y)
    return Labelled(data.x, (data.y == classes[seed % len(classes)]).astype(np.int64), data.group)


def thinned(train: Labelled, odds: float, seed: int) -> Labelled:
    """The items with one rare item for every `odds` of the rest, drawn at random."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    few = round(float((train.y == 0).sum()) / odds)
    if few < 2:
        raise DataError(f"{len(train.y)} items at 1 to {odds} leave {few} of the rare class: lower `odds`")
    return train.take(np.sort(np.concatenate([
        np.flatnonzero(train.y == 0), rng.permutation(np.flatnonzero(train.y == 1))[:few],
    ])))  # fmt: skip


def area(classifier: Any, items: Labelled) -> float:
    """How often a rare item is given a higher probability of being one than an item of the rest."""
    p = classifier.predict_proba(items.x)[:, 1]
    return auroc(p[items.y == 0], p[items.y == 1])


def balanced(classifier: Any, items: Labelled) -> float:
    """The mean recall of the two classes."""
    said = classifier.predict(items.x)
    return float(np.mean([(said[items.y == c] == c).mean() for c in (0, 1)]))


def fitted(spec: str, grid: dict[str, list[Any]], train: Labelled) -> list[Any]:
    """The classifier with every combination of the grid's options; those that the spec gives or lacks are left out."""
    name, given = parse_spec(spec)
    known = {option.name for option in card_of("classify", name).options} - set(given)
    lists = {option: values for option, values in grid.items() if option in known}
    combined = [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]
    return [make("classify", spec, **chosen).fit(train.x, train.y) for chosen in combined]


def _best(candidates: list[Any], measure: Measure, validation: Labelled) -> Any:
    return max(candidates, key=lambda classifier: measure(classifier, validation))
