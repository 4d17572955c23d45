"""Pictures of one class are normal and those of all others are not: how well trained vectors find the others.

A seed draws which class is normal. A small network learns `items` pictures of it by each recipe, from the same start
and for as many steps; what it gives of held-out pictures, of this class and of others in equal number, is scored by the
distance to the nearest training picture. Nothing is tuned: where only normal items are known there is nothing to tune
on; all recipes have one temperature, epochs, augmentation and rate.

Metrics:

- `auroc`: the chance that a picture of another class is farther than one of the normal class;
- `auroc, turns averaged`: with scores summed over the four turns of pictures and training pictures alike;
- `concentration`: length of the mean vector of held-out normal pictures;
- `dispersion`: 1 less that of the pictures of other classes;
- `auroc against NAME`: the variant beside further recipes.

Options (`[options]` of the spec):
    baseline, variant: fields of a recipe; further ones by name in `against`.
    alike: {data: labels} of classes that look alike when turned, which then have rows of their own, and are normal in
        no other.
    items, epochs, batch_size, rate: (100, 25, 50, 0.003).

Data: `digits` (8 pixels a side, doubled) and `fashion` (28, halved).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tellapart.core.errors import PartError
from tellapart.core.parts import make, make_chain
from tellapart.core.relation import Keys
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Pictures, TrainData
from tellapart.protocol._small_pictures import AUGMENT, pictures
from tellapart.protocol._unknown import auroc
from tellapart.recipe import Recipe

KNOWN = ("baseline", "variant", "against", "alike", "items", "epochs", "batch_size", "rate")
NETWORK = {"image": "small-cnn(width=8, side=16)", "head": "linear-head(dim=32)", "tune": "full", "augment": AUGMENT}
PROBE, TURNS = 200, 4


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol one_class has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    alike = options.get("alike", {}).get(data, [])
    upright = [label for label in np.unique(pictures(data)[1]).tolist() if label not in alike]
    rng = np.random.default_rng(np.random.SeedSequence([seed, 41]))
    normal = int(rng.choice(upright))
    ours = measured(data, normal, seed, options, options["variant"])
    base = measured(data, normal, seed, options, options["baseline"])
    found = {name: (base[name], ours[name]) for name in ours}
    for name, fields in options.get("against", {}).items():
        other = measured(data, normal, seed, options, fields)
        found[f"auroc against {name}"] = (other["auroc"], ours["auroc"])
    if alike:
        turned = int(rng.choice(alike))
        pair = [measured(data, turned, seed, options, options[side]) for side in ("baseline", "variant")]
        found["auroc, alike when turned"] = (pair[0]["auroc"], pair[1]["auroc"])
    return found


def measured(
    data: str, normal: int, seed: int, options: Mapping[str, Any], fields: Mapping[str, Any]
) -> dict[str, float]:
    """The figures of one recipe with one class as the normal one."""
    x, y = pictures(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, normal, 43]))
    mine, others = (rng.permutation(np.flatnonzero(where)) for where in (y == normal, y != normal))
    count = min(options.get("items", 100), len(mine) // 2)
    train, known = mine[:count], mine[count : count + PROBE]
    budget = {"epochs": options.get("epochs", 25), "batch_size": options.get("batch_size", 50)}
    recipe = Recipe.of({**NETWORK, **budget, "learning_rate": options.get("rate", 0.003), **fields})
    encoder = make("encode", recipe.image)

    def inputs(rows: np.ndarray, augment: str = "") -> Pictures:
        return Pictures(np.repeat(x[rows][..., None], 3, axis=3), encoder, make_chain("augment", augment))

    item, held = torch.arange(count), inputs(train, recipe.augment)
    fitted = fit(recipe, TrainData(held, held, Keys(item, item, item), True), seed=seed)

    @torch.no_grad()
    def vectors(rows: np.ndarray, turn: int) -> Tensor:
        found: Tensor = fitted.towers["query"](inputs(rows).batch(np.arange(len(rows)), seed=None).rot90(turn, (2, 3)))
        return found

    def scores(rows: np.ndarray, turn: int) -> np.ndarray:
        near = make("score", "knn", k=1).fit(vectors(train, turn).numpy())
        return np.asarray(near.score(vectors(rows, turn).numpy()), np.float64)

    new = others[: len(known)]
    pair = [[scores(rows, turn) for turn in range(TURNS)] for rows in (known, new)]
    return {
        "auroc": auroc(pair[0][0], pair[1][0]),
        "auroc, turns averaged": auroc(np.sum(pair[0], axis=0), np.sum(pair[1], axis=0)),
        "concentration": float(vectors(known, 0).mean(0).norm()),
        "dispersion": 1 - float(vectors(new, 0).mean(0).norm()),
    }
