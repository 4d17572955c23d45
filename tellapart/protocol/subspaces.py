"""Labelled strategies judged by classes that they were not trained on, and by what they know of how classes relate.

The classes are parted: a head on frozen features is trained on some, recipes are chosen by others, and the rest are the
test, looked at once. Baseline and part are trained on the same items for the same number of steps.

Metrics:
- `accuracy, new classes`: a logistic regression on the vectors of half of the items of the test classes, `shots` of
  each, is right for so many of the other half; recipes are chosen by the same of the validation classes.
- `effective rank`: exp of the entropy of the singular values of the vectors of the test classes, divided by their sum
  (Garrido et al., RankMe, ICML 2023); dimensions that have collapsed do not count.
- `relations`: the rank correlation (Spearman), over all pairs of trained classes, of path similarity in WordNet,
  1 / (1 + steps between them), with the part's `overlap`; for a recipe without one, with the cosines of the classes'
  means. Only where the data have such a truth.
Each is also given against the frozen features as they are.

Data: `digits` (8 x 8 pixels; 10 classes) and `wordnet-kinds` (glosses under 40 noun synsets by MiniLM: of those that
have at least 40 and at most 150 others below them, the topmost, taken at even distances).

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    items: of a class (40); shots: of a class that the regression sees (5).
    epochs, batch_size, head: the budget, the same for all.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.needs import require
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.protocol import _sets
from tellapart.recipe import Recipe

KNOWN = ("baseline", "variant", "items", "shots", "epochs", "batch_size", "head")
DATA = ("digits", "wordnet-kinds")
SHARES = (0.5, 0.2, 0.3)
KINDS, BELOW = 40, (40, 150)

Figures = dict[str, float]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, part)} for one data set and one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol subspaces has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in DATA:
        raise DataError(f"the protocol subspaces knows {', '.join(DATA)}, not {data!r}")
    x, y, truth = classes(data)
    shares = parted(y, options.get("items", 40), seed)
    budget = {"epochs": options.get("epochs", 20), "batch_size": options.get("batch_size", 64)}
    budget["head"] = options.get("head", "linear-head(dim=64)")
    shots = options.get("shots", 5)

    def chosen(fields: Mapping[str, Any]) -> Figures:
        lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
        recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
        return max((measured(x, y, truth, shares, r, shots, seed) for r in recipes), key=lambda found: found[0])[1]

    ours, base = (chosen(budget | options[name]) for name in ("variant", "baseline"))
    plain = measured(x, y, truth, shares, None, shots, seed)[1]
    found = {name: (base[name], ours[name]) for name in ours}
    return found | {f"{name}, against frozen features": (plain[name], ours[name]) for name in ours}


def measured(
    x: np.ndarray, y: np.ndarray, truth: np.ndarray | None, shares: list[np.ndarray], recipe: Recipe | None, shots: int,
    seed: int,
) -> tuple[float, Figures]:  # fmt: skip
    """(accuracy on the validation classes, figures of the test classes) of a recipe, or of the features."""
    rows, strategy = shares[0], None
    if recipe is None:
        z = x
    else:
        inputs, item = Features(x[rows]), torch.arange(len(rows))
        keys = Keys(item, item, torch.from_numpy(y[rows]))
        fitted = fit(recipe, TrainData(inputs, inputs, keys, same_space=True), seed=seed)
        z, strategy = fitted.encode("query", x), fitted.strategy
    figures = {
        "accuracy, new classes": _probe(z[shares[2]], y[shares[2]], shots, seed),
        "effective rank": effective_rank(z[shares[2]]),
    }
    if truth is not None:
        known = np.unique(y[rows])
        means = unit_rows(np.stack([z[rows][y[rows] == label].mean(0) for label in known]))
        said = strategy.overlap().numpy() if hasattr(strategy, "overlap") else means @ means.T
        figures["relations"] = related(said, truth[np.ix_(known, known)])
    return _probe(z[shares[1]], y[shares[1]], shots, seed), figures


def parted(y: np.ndarray, items: int, seed: int) -> list[np.ndarray]:
    """Rows of the trained, the validation and the test classes; `items` of each class at most, drawn anew by seed."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    labels = rng.permutation(np.unique(y))
    ends = np.round(np.cumsum(SHARES)[:-1] * len(labels)).astype(int)
    pieces = np.split(labels, ends)
    return [np.concatenate([rng.permutation(np.flatnonzero(y == c))[:items] for c in piece]) for piece in pieces]


def _probe(z: np.ndarray, y: np.ndarray, shots: int, seed: int) -> float:
    """Accuracy on one half of the items of a regression that saw so many a class of the other."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    seen, asked = [], []
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        seen.append(rows[: len(rows) // 2][:shots])
        asked.append(rows[len(rows) // 2 :])
    fitted, rest = np.concatenate(seen), np.concatenate(asked)
    probe = make("classify", "logistic-regression").fit(z[fitted], y[fitted])
    return float((probe.classes_[probe.predict_proba(z[rest]).argmax(1)] == y[rest]).mean())


def effective_rank(z: np.ndarray) -> float:
    """exp of the entropy of the singular values of unit vectors [n, d], divided by their sum."""
    values = np.linalg.svd(unit_rows(z.astype(np.float64)), compute_uv=False)
    share = values / values.sum()
    return float(np.exp(-(share * np.log(np.maximum(share, 1e-300))).sum()))


def related(said: np.ndarray, truth: np.ndarray) -> float:
    """Rank correlation of two [c, c] tables over the pairs of different classes."""
    stats = require("scipy.stats", "the protocol subspaces")
    at = np.triu_indices(len(truth), 1)
    return float(stats.spearmanr(said[at], truth[at]).statistic)


@functools.cache
def classes(data: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Features [n, width], classes [n] int64 from 0, and how similar classes are [c, c], where that is known."""
    if data == "digits":
        held = _sets.load("digits")
        return held.x, held.y.astype(np.int64), None
    from tellapart.data.spool import cache_folder
    from tellapart.engine.embed import embed

    made = _sets.shipped("wordnet")
    above = dict(zip(made.values("id"), made.values("hypernym"), strict=True))
    row = {name: number for number, name in enumerate(above)}
    above = {name: higher for name, higher in above.items() if name.startswith("n")}
    kinds, members = kinds_of(above)
    rows = np.array([row[name] for names in members for name in names])
    y = np.repeat(np.arange(len(kinds)), [len(names) for names in members])
    cache = cache_folder(None, "evidence-vectors")
    x = np.array(embed(made.take(rows), "gloss", make("encode", "minilm"), cache=cache))
    return x, y, path_similarity(kinds, above)


def kinds_of(above: Mapping[str, str | None]) -> tuple[list[str], list[list[str]]]:
    """KINDS synsets, none above another, taken evenly, and at most BELOW[0] of those below each, taken evenly."""
    below: dict[str, list[str]] = {name: [] for name in above}
    for name in above:
        for higher in _path(name, above)[1:]:
            below[higher].append(name)
    low, high = BELOW
    fits = [name for name, under in below.items() if low <= len(under) <= high]
    top = [name for name in fits if above[name] is None or not low <= len(below[above[name] or ""]) <= high]
    kinds = [top[i] for i in np.linspace(0, len(top) - 1, min(KINDS, len(top))).astype(int)]
    members = [[below[k][i] for i in np.linspace(0, len(below[k]) - 1, low).astype(int)] for k in kinds]
    return kinds, members


def path_similarity(kinds: list[str], above: Mapping[str, str | None]) -> np.ndarray:
    """[c, c] 1 / (1 + steps from one to the other through what stands above both); 0 where nothing does."""
    paths = [_path(kind, above) for kind in kinds]
    found = np.zeros((len(kinds), len(kinds)))
    for i, one in enumerate(paths):
        for j, other in enumerate(paths):
            common = next((name for name in one if name in other), None)
            if common is not None:
                found[i, j] = 1 / (1 + one.index(common) + other.index(common))
    return found


def _path(name: str, above: Mapping[str, str | None]) -> list[str]:
    """A synset and all that stand above it, the nearest first."""
    path, step = [name], above[name]
    while step is not None and step not in path:
        path.append(step)
        step = above[step]
    return path
