"""Few-shot accuracy of a classifier against its baseline on frozen features.

For each number of shots k, k items a class are drawn from the training share, both classifiers are fitted on them, and
their accuracy on the test share is compared item by item. Options of both are tuned on the validation share by the
grids given; the test share is used once.

Options (`[options]` of the spec):
    shots: list of numbers of items a class (1, 2, 4, 8, 16).
    validation_items: items a class that options are chosen on (8).
    part_grid, baseline_grid: {option: list of values} to choose from on validation data.
    also: specs of further classifiers, untuned, that the part is compared with.
    text: true to measure the mix with a text head as well, against the part alone and against the text head alone, on
        data whose classes have names.
    alphas: values of `alpha` tried for that mix.
The baseline may be `majority`: the commonest class of the training items, or the first of equally common ones.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from tellapart.core.features import unit_rows
from tellapart.core.parts import make
from tellapart.protocol import _sets
from tellapart.protocol._sets import Labelled

SHARES = (0.5, 0.2, 0.3)
FEWEST_TEST_ITEMS = 5


class Majority:
    """Always the commonest class."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Majority:
        """Count."""
        classes, counts = np.unique(y, return_counts=True)
        self.common_ = classes[counts.argmax()]
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """[n] labels."""
        return np.repeat(self.common_, len(x))


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)}, both [test items] of 0 and 1."""
    options = spec["options"]
    shots = options.get("shots", [1, 2, 4, 8, 16])
    everything = enough(_sets.load(data), max(shots))
    train, validation, test = _sets.split(everything, seed, SHARES)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    validation = validation.take(draw(validation.y, options.get("validation_items", 8), rng))
    found: dict[str, tuple[Any, Any]] = {}
    for k in shots:
        few = train.take(draw(train.y, k, rng))
        variant = tuned(spec["part"], options.get("part_grid", {}), few, validation)
        base = tuned(spec["baseline"], options.get("baseline_grid", {}), few, validation)
        mine = right(variant, test)
        found[f"accuracy, {k} shots"] = right(base, test), mine
        for other in options.get("also", []):
            found[f"accuracy, {k} shots, against {other}"] = right(tuned(other, {}, few, validation), test), mine
        if options.get("text") and few.words is not None:
            found |= mixed(spec, few, train, validation, test, mine, k, seed)
    return found


def enough(data: Labelled, shots: int) -> Labelled:
    """The classes that have enough groups for all three shares."""
    classes = [c for c in np.unique(data.y) if len(np.unique(data.group[data.y == c])) * SHARES[2] >= FEWEST_TEST_ITEMS]
    classes = [c for c in classes if (data.y == c).sum() * SHARES[0] >= shots]
    return data.take(np.flatnonzero(np.isin(data.y, classes)))


def draw(y: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of k random items of every class (all of a class that has fewer)."""
    return np.concatenate([rng.permutation(np.flatnonzero(y == c))[:k] for c in np.unique(y)])


def tuned(spec: str, grid: dict[str, list[Any]], few: Labelled, validation: Labelled, **fit: Any) -> Any:
    """The part fitted on the few items, with the options of the grid that do best on the validation items."""
    best, most = None, -1.0
    for values in itertools.product(*grid.values()):
        options = dict(zip(grid, values, strict=True))
        candidate = (Majority() if spec == "majority" else make("classify", spec, **options)).fit(few.x, few.y, **fit)
        share = right(candidate, validation).mean() if len(grid) else 0.0
        if share > most:
            best, most = candidate, share
    return best


def right(classifier: Any, items: Labelled) -> np.ndarray:
    """[n] 1.0 where the label is right."""
    return (classifier.predict(items.x) == items.y).astype(np.float64)


def mixed(
    spec: dict[str, Any],
    few: Labelled,
    train: Labelled,
    validation: Labelled,
    test: Labelled,
    alone: np.ndarray,
    k: int,
    seed: int,
) -> dict[str, tuple[Any, Any]]:
    """The mix of the part with a text head, against each of the two by itself."""
    text = text_head(few, train, seed)
    classes = np.unique(few.y)
    zero_shot = (classes[(unit_rows(test.x.astype(np.float64)) @ text.T).argmax(axis=1)] == test.y).astype(np.float64)
    grid = {"alpha": spec["options"].get("alphas", [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0])}
    mix = right(tuned(spec["part"], grid, few, validation, text=text), test)
    return {
        f"mix, {k} shots, against the part alone": (alone, mix),
        f"mix, {k} shots, against text alone": (zero_shot, mix),
    }


def text_head(few: Labelled, train: Labelled, seed: int) -> np.ndarray:
    """[classes, d] unit vectors that stand for the classes' names in the space of the features.

    Where name vectors have the width of the features they are taken to be of one space. Otherwise a ridge map leads
    from names to features, fitted on the training items of half of the classes.
    """
    assert train.words is not None
    rng = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    classes = np.unique(few.y)
    words = unit_rows(train.words.astype(np.float64))
    names = np.stack([words[train.y == c].mean(axis=0) for c in classes])
    if names.shape[1] == train.x.shape[1]:
        return unit_rows(names)
    x = unit_rows(train.x.astype(np.float64))
    seen = np.isin(train.y, rng.permutation(classes)[: len(classes) // 2])
    middle, centre = words[seen].mean(axis=0), x[seen].mean(axis=0)
    w, v = words[seen] - middle, x[seen] - centre
    ridge = np.trace(w.T @ w) / w.shape[1]
    to_features = np.linalg.solve(w.T @ w + ridge * np.eye(w.shape[1]), w.T @ v)
    return unit_rows((names - middle) @ to_features + centre)
