"""Composed queries learnt of captions alone: phi and a text side that captions taught, on changed drawings.

Trained on OpenMoji drawings with their names, those of held-out bases left out; no row of a reference, a change and a
target is seen. Questions, their parts of validation and test, and all pictures that are searched are those of the
protocol `composed`. The baseline is the pseudo word in a text side that nobody taught, of the same towers and the same
phi; both choose among the options by R@1 on validation questions, each for itself, and see the test part once.

Data: `openmoji-changes`; `openmoji-changes-few` with a quarter of the other drawings.

Metrics: those of `engine.composed.figures`, and R@1 of the variant against the reference alone, the words alone and the
sum of both vectors.

Options (`[options]` of the spec): fields of the recipe, a list holding what is chosen from.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.data.shipped import openmoji
from tellapart.data.spool import cache_folder
from tellapart.engine.captions import told
from tellapart.engine.composed import FIRST, ITSELF, figures
from tellapart.engine.embed import embed
from tellapart.engine.evaluate import Relevant
from tellapart.engine.fit import Fitted, fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.protocol.composed import DATA, FEW, Changes, changes, parts
from tellapart.recipe import Recipe

LOWER_IS_BETTER = (ITSELF,)
PHI, TAUGHT = "phi", "taught"
SIMPLE = ("reference alone", "words alone", "sum of both")

Figures = dict[str, tuple[Any, Any]]
Arms = dict[str, dict[str, float]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if data not in DATA:
        raise DataError(f"the protocol rewritten knows {', '.join(DATA)}, not {data!r}")
    made = changes()
    _, validation, test = parts(made, seed, few=False)
    train = allowed(made, np.concatenate([validation, test]))
    if data.endswith("few"):
        train = train[np.sort(np.random.default_rng([seed, 7]).permutation(len(train))[: round(FEW * len(train))])]
    lists = {name: value if isinstance(value, list) else [value] for name, value in spec["options"].items()}
    best: dict[str, tuple[float, dict[str, float]]] = {}
    for values in itertools.product(*lists.values()):
        fitted = trained(train, Recipe.of(dict(zip(lists, values, strict=True))), seed)
        tried, held = measured(made, validation, fitted), measured(made, test, fitted)
        for name in tried:
            if name not in best or tried[name][FIRST] > best[name][0]:
                best[name] = tried[name][FIRST], held[name]
    arms = {name: found for name, (_, found) in best.items()}
    found: Figures = {metric: (arms[PHI][metric], arms[TAUGHT][metric]) for metric in arms[TAUGHT]}
    return found | {f"{FIRST}, against {name}": (arms[name][FIRST], arms[TAUGHT][FIRST]) for name in SIMPLE}


@functools.cache
def drawings() -> tuple[Collection, np.ndarray, np.ndarray]:
    """All drawings, and the frozen vectors of their names and pictures."""
    made, cache = openmoji(), cache_folder(None, "evidence-vectors")
    texts = np.array(embed(made, "text", make("encode", "minilm"), cache=cache))
    return made, texts, np.array(embed(made, "image", make("encode", "lite0"), cache=cache))


def allowed(made: Changes, held: np.ndarray) -> np.ndarray:
    """Rows of `drawings()` of whose concept no picture is in held-out questions."""
    every = drawings()[0]
    pictures = {x for name in ("image", "other_image") for x in made.rows.take(held).values(name)}
    images, concepts = every.values("image"), every.values("concept")
    kept_apart = {concept for image, concept in zip(images, concepts, strict=True) if image in pictures}
    return np.flatnonzero([concept not in kept_apart for concept in concepts])


def trained(rows: np.ndarray, recipe: Recipe, seed: int) -> Fitted:
    """Towers, phi and text side of some drawings and their names."""
    every, texts, pictures = drawings()
    words, extra = told([every.values("text")[row] for row in rows])
    table = Collection.of({"text": words})
    phrases = embed(table, "text", make("encode", "minilm"), cache=cache_folder(None, "evidence-vectors"))
    row, code = torch.arange(len(rows)), torch.from_numpy(extra["caption"])
    data = TrainData(
        Features(texts[rows]), Features(pictures[rows]), Keys(row, code, code), phrase=Features(phrases), extra=extra
    )
    return fit(recipe, data, seed=seed)


def measured(made: Changes, rows: np.ndarray, fitted: Fitted) -> Arms:
    """Means over the questions of a part, each asked once, by what is searched with."""
    asked, first = np.unique(made.asked[rows], return_index=True)
    places = rows[first]
    right: dict[int, set[int]] = {}
    for question, target in zip(made.asked[rows].tolist(), made.target[rows].tolist(), strict=True):
        right.setdefault(question, set()).add(target)
    relevant = Relevant.of([sorted(right[question]) for question in asked.tolist()])
    z, t = fitted.encode("document", made.pictures), fitted.encode("query", made.texts[places])
    own, composer = made.own[places], fitted.strategy.composer
    r = z[own]
    join: Callable[..., torch.Tensor] = composer.untaught
    with torch.no_grad():
        word = composer.phi(torch.from_numpy(r))
        arms = {PHI: join(word, torch.from_numpy(t)).numpy(), TAUGHT: composer.saved()(r, t)}
    arms |= dict(zip(SIMPLE, (r, t, _unit(r + t)), strict=True))
    return {
        name: {metric: float(np.mean(x)) for metric, x in figures(q, z, relevant, own).items()}
        for name, q in arms.items()
    }


def _unit(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return found
