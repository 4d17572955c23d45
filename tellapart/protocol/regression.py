"""Vectors that numbers are read off: a recipe with the part against one without it, trained on items with scores.

Both sides train a head on the same frozen features of the training items for the same number of steps. On the vectors
of each, a ridge regression or the mean of the nearest items, whichever does better on the validation part, predicts the
scores; recipes are chosen the same way; the test part is looked at once. The labels that a strategy without scores sees
are tenths of the score (`tellapart.data.tenths`). Two figures: the mean absolute error, in standard deviations of the
training scores, and Spearman's correlation of predicted and true scores.

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    controls: further recipes (changes of the variant, {} for none) that the variant is compared with.
    untrained: true to compare with the frozen features as well.
    train_items, steps, batch_size, head: the budget, the same for all.

Data: `diabetes` (ten measurements of a patient; how far the disease is after a year), `depth` (MiniLM vectors of noun
glosses of WordNet; steps to the root), `angle` (8 x 8 digits turned by up to 60 degrees; the angle).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tellapart.core.collection import Collection
from tellapart.core.errors import PartError, near
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.data.spool import cache_folder
from tellapart.data.tenths import with_tenths
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.protocol._sets import shipped
from tellapart.recipe import Recipe

LOWER_IS_BETTER = ("mean absolute error",)
KNOWN = ("baseline", "variant", "controls", "untrained", "train_items", "steps", "batch_size", "head")
SHARES = (0.6, 0.75)
GLOSSES, WIDEST = 3000, 60.0
RIDGES, NEAREST = (1.0, 10.0, 100.0, 1000.0), (5, 20)

Figures = dict[str, tuple[Any, Any]]
Measured = tuple[float, np.ndarray, float]  # validation error, test errors, test correlation


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol regression has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in _SETS:
        raise PartError(f"there are no items with scores named {data!r}; {near(data, _SETS)}")
    x, y = _SETS[data]()
    order = np.random.default_rng(np.random.SeedSequence([seed, 1])).permutation(len(x))
    ends = [round(share * len(x)) for share in SHARES]
    train, validation, test = np.split(order, ends)
    parts = (train[: options.get("train_items", len(train))], validation, test)
    budget = {"batch_size": 64, "head": "linear-head(dim=64)"} | {
        name: options[name] for name in ("batch_size", "head") if name in options
    }
    budget["epochs"] = math.ceil(options.get("steps", 200) / max(1, len(parts[0]) // budget["batch_size"]))
    ours = _chosen(x, y, parts, seed, budget | options["variant"])
    others = {"": _chosen(x, y, parts, seed, budget | options["baseline"])}
    for control in options.get("controls", []):
        words = ", ".join(f"{name}={value}" for name, value in control.items())
        others[f" against {words}"] = _chosen(x, y, parts, seed, budget | options["variant"] | control)
    if options.get("untrained"):
        others[" against frozen features"] = predicted(lambda rows: x[rows], y, parts)
    figures: Figures = {}
    for words, other in others.items():
        figures[f"mean absolute error{words}"] = (other[1], ours[1])
        figures[f"Spearman correlation{words}"] = (other[2], ours[2])
    return figures


def _chosen(
    x: np.ndarray, y: np.ndarray, parts: tuple[np.ndarray, ...], seed: int, fields: Mapping[str, Any]
) -> Measured:
    """The figures of the recipe whose vectors predict best on the validation part."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    return min((_trained(x, y, parts, seed, recipe) for recipe in recipes), key=lambda found: found[0])


def _trained(x: np.ndarray, y: np.ndarray, parts: tuple[np.ndarray, ...], seed: int, recipe: Recipe) -> Measured:
    train = parts[0]
    labelled = with_tenths(Collection.of({"text": [str(r) for r in train], "score": y[train]}))
    item, inputs = torch.arange(len(train)), Features(x[train])
    keys = Keys(item, item, torch.from_numpy(labelled.codes("label")[0]))
    fitted = fit(recipe, TrainData(inputs, inputs, keys, True, extra={"score": y[train]}), seed=seed)
    return predicted(lambda rows: fitted.encode("query", x[rows]), y, parts)


def predicted(encode: Callable[[np.ndarray], np.ndarray], y: np.ndarray, parts: tuple[np.ndarray, ...]) -> Measured:
    """What the regressor says that is best on the validation part."""
    from scipy.stats import spearmanr
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, validation, test = parts
    spread = float(y[train].std())
    z = {name: encode(rows) for name, rows in zip(("train", "validation", "test"), parts, strict=True)}
    tried = [make_pipeline(StandardScaler(), Ridge(alpha)) for alpha in RIDGES]
    tried += [KNeighborsRegressor(min(k, len(train))) for k in NEAREST]
    errors = []
    for regressor in tried:
        regressor.fit(z["train"], y[train])
        errors.append(float(np.abs(regressor.predict(z["validation"]) - y[validation]).mean() / spread))
    best = int(np.argmin(errors))
    said = tried[best].predict(z["test"])
    correlation = float(spearmanr(said, y[test]).statistic) if np.ptp(said) > 0 else 0.0
    return errors[best], np.abs(said - y[test]) / spread, correlation


@functools.cache
def _diabetes() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    return x.astype(np.float32), y


@functools.cache
def _depth() -> tuple[np.ndarray, np.ndarray]:
    from tellapart.engine.embed import embed

    made = shipped("wordnet")
    above = dict(zip(made.ids, made.values("hypernym"), strict=True))
    rows = [r for r, (pos, up) in enumerate(zip(made.values("pos"), made.values("hypernym"), strict=True))
            if pos == "n" and up is not None]  # fmt: skip
    first = {gloss: row for row, gloss in reversed(list(zip(rows, made.take(rows).values("gloss"), strict=True)))}
    rows = sorted(first.values())
    made = made.take([rows[i] for i in np.linspace(0, len(rows) - 1, GLOSSES).astype(int)])
    depths = []
    for id_ in made.ids:
        depth = 0
        while (id_ := above[id_]) is not None:
            depth += 1
        depths.append(float(depth))
    x = embed(made, "gloss", make("encode", "minilm"), cache=cache_folder(None, "evidence-vectors"))
    return np.array(x), np.array(depths)


@functools.cache
def _angle() -> tuple[np.ndarray, np.ndarray]:
    from scipy.ndimage import rotate
    from sklearn.datasets import load_digits

    pictures = load_digits().images / 16
    angles = np.random.default_rng(0).uniform(-WIDEST, WIDEST, len(pictures))
    turned = [rotate(picture, angle, reshape=False, order=1) for picture, angle in zip(pictures, angles, strict=True)]
    return np.stack(turned).reshape(len(pictures), -1).astype(np.float32), angles


_SETS: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "diabetes": _diabetes, "depth": _depth, "angle": _angle,
}  # fmt: skip
