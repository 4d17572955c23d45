"""How well a score finds what belongs to no known class, against its baseline.

Each seed draws which classes are known (60%), which are the unknown ones that options are chosen on (20%), and which
are the unknown ones of the test (20%). Both scores are fitted on training items of the known classes; the options of
their grids are chosen on validation items; then the test's known and unknown items are told apart:

- `auroc`: the chance that an unknown item scores above a known one, ties counted half;
- `fpr95`: the share of unknown items that pass where the threshold lets 95% of the known ones through (less is better).

Options (`[options]` of the spec):
    part_grid, baseline_grid: {option: list of values}.
    noise: share of training labels replaced by random ones, for a second run of the same (0: none).
    add: true to give the part the unknown classes of the test by `add_class`, half of their items, and to compare its
        accuracy over all classes with the nearest Euclidean mean of the same items.
    net: names of data sets of pixels on which a small network is trained on the known classes, to compare on its hidden
        layers: the baseline on the last one, the part on the last one and on all of them, weighed on validation data;
        with the input nudged along the part's gradient, too; and on FGSM-attacked items of known classes in place of
        unknown ones.
The baseline may be `chance`: random numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.parts import make
from tellapart.protocol import _sets
from tellapart.protocol._sets import Labelled
from tellapart.protocol._unknown import auroc, fpr95, tuned

LOWER_IS_BETTER = ("fpr95",)
SHARES = (0.5, 0.2, 0.3)


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)}."""
    options = spec["options"]
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    everything = _sets.load(data)
    order = rng.permutation(np.unique(everything.y))
    ends = (int(np.ceil(0.6 * len(order))), int(np.ceil(0.8 * len(order))))
    known, held_out, unknown = (np.isin(everything.y, c) for c in np.split(order, ends))
    train, validation, test = _sets.split(everything.take(np.flatnonzero(known)), seed, SHARES)
    tune = (validation.x, everything.x[held_out])
    probe = (test.x, everything.x[unknown])
    found = compare(spec, train.x, train.y, tune, probe, seed, "")
    if options.get("noise"):
        noisy = np.where(rng.random(len(train.y)) < options["noise"], rng.choice(train.y, len(train.y)), train.y)
        found |= compare(spec, train.x, noisy, tune, probe, seed, ", noisy labels")
    if options.get("add"):
        part = tuned(spec["part"], options.get("part_grid", {}), train.x, train.y, tune, seed)
        found |= added(part, train, test, everything.take(np.flatnonzero(unknown)), rng)
    if data in options.get("net", []):
        from tellapart.protocol import _net  # torch is loaded for the scores that look inside a network alone

        found |= _net.compare(spec, train, validation, test, tune, probe, seed)
    return found


def compare(
    spec: dict[str, Any], x: np.ndarray, y: np.ndarray, tune: tuple, probe: tuple, seed: int, words: str
) -> dict[str, tuple[float, float]]:
    """Both scores fitted on x, tuned on (known, unknown) of `tune` and measured on those of `probe`."""
    grids = spec["options"].get("baseline_grid", {}), spec["options"].get("part_grid", {})
    fitted = [tuned(s, g, x, y, tune, seed) for s, g in zip((spec["baseline"], spec["part"]), grids, strict=True)]
    scores = [tuple(score.score(items) for items in probe) for score in fitted]
    base, variant = scores
    return {f"auroc{words}": (auroc(*base), auroc(*variant)), f"fpr95{words}": (fpr95(*base), fpr95(*variant))}


def added(
    part: Any, train: Labelled, test: Labelled, new: Labelled, rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Accuracy over old and new classes: the nearest Euclidean mean against the part after `add_class`."""
    first, rest = [], []
    for label in np.unique(new.y):
        rows = rng.permutation(np.flatnonzero(new.y == label))
        half = len(rows) // 2
        first.append(rows[:half])
        rest.append(rows[half:])
        part.add_class(new.x[rows[:half]], label)
    few, held = new.take(np.concatenate(first)), new.take(np.concatenate(rest))
    plain = make("classify", "nearest-mean").fit(np.concatenate([train.x, few.x]), np.concatenate([train.y, few.y]))
    x, y = np.concatenate([test.x, held.x]), np.concatenate([test.y, held.y])
    base, variant = plain.predict(x) == y, part.predict(x) == y
    old = len(test.y)
    return {
        "accuracy with classes added": (float(base.mean()), float(variant.mean())),
        "accuracy on the added classes": (float(base[old:].mean()), float(variant[old:].mean())),
    }
