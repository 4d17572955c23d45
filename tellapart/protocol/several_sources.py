"""Sources that hurt, among pairs that are dealt out to sources of which one is made harmful in a known way.

Data: `openmoji` and `wordnet`, as in the protocol `misfits`. The pairs go to five sources at random. Each has a shift
of its own, small noise and an offset on the features of both sides. One is harmful (`harms`):
    other rule: its text features are turned, all in the same way, so that its pairs agree with each other and with no
        other source: accuracy on its own pairs does not tell.
    shuffled: its texts are dealt out among its items.
    none: nothing is harmful, and nothing should be proposed.

Baseline `own accuracy`: a source is the more suspicious the fewer of its own held-out pairs are found under a model of
all sources; it has no threshold and tells as many items as the part proposes, or the worst source where that is none.

Metrics for each harm: `AUROC`, `recall` and `precision` of items, against what was made harmful; `R@10 after dropping`,
the mean of both directions among held-out pairs of the other sources of two linear heads trained with InfoNCE on
everything (baseline) and on what is left after the proposals (variant); `R@10 without it` is the same where what was
made harmful is left out, whatever is proposed: whether there was harm. With none: `wrongly proposed`, the share of
items, against one source of five that the baseline would tell. `mixtures between their parents`: the share of cells
(two sources, a third as the shift, nothing harmful) in which the accuracy of a model of half of either lies between
those of models of one alone at the same number of pairs, against 1/3, which is chance.

Options (`[options]` of the spec):
    harms: what is done (all three). items: at most so many pairs (2500). epochs: of the heads (10).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from tellapart.core.collection import Collection
from tellapart.core.crossfit import folds_of
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.core.sources import Sources, reduced
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.protocol.find import Figures, against
from tellapart.protocol.misfits import pairs
from tellapart.recipe import Recipe

LOWER_IS_BETTER = ("wrongly proposed",)
SOURCES, HARMFUL, HELD = 5, 2, 0.25
NOISE, OFFSET = 0.3, 0.3


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if spec["baseline"] != "own accuracy":
        raise DataError(f"sources are compared with own accuracy, not with {spec['baseline']}")
    options, found = spec["options"], {}
    for harm in options.get("harms", ["other rule", "shuffled", "none"]):
        rng = np.random.default_rng(np.random.SeedSequence([seed, 12]))
        x, y, source = dealt(data, harm, rng, options.get("items", 2500))
        held = rng.random(len(x)) < HELD
        rest = np.flatnonzero(~held)
        fold = folds_of(np.arange(len(rest)), 3, rng)
        asked = Sources(reduced(x[rest], 64), reduced(y[rest], 64), source[rest], np.arange(len(rest)), fold)
        collection = Collection.of({
            "text": [f"text {i}" for i in range(len(asked.x))], "image": [f"{i}.png" for i in range(len(asked.x))],
            "source": [f"shop {s}" for s in asked.source],
        })  # fmt: skip
        parts = make("find", spec["part"])({"query": x[~held], "document": y[~held]}, collection, seed=seed)
        told = np.isin(collection.ids, parts.proposed().table["item"].to_pylist())
        own = -asked.accuracy(asked.found(np.ones(len(asked.x), bool)))
        if harm == "none":
            found["wrongly proposed"] = (1 / SOURCES, float(told.mean()))
            found["mixtures between their parents"] = (1 / 3, between(asked, rng))
            continue
        worst = np.isin(asked.source, np.argsort(-own)[: max(1, round(told.mean() * SOURCES))])
        figures = against(asked.source == HARMFUL, own[asked.source], worst, parts)
        found |= {f"{name}, {harm}": values for name, values in figures.items()}
        left, test = np.flatnonzero(~held)[~told], np.flatnonzero(held & (source != HARMFUL))
        good = np.flatnonzero(~held & (source != HARMFUL))
        every, dropped, known = (
            trained(x, y, rows, test, seed, options.get("epochs", 10)) for rows in (np.flatnonzero(~held), left, good)
        )
        found |= {f"R@10 after dropping, {harm}": (every, dropped), f"R@10 without it, {harm}": (every, known)}
    return found


def dealt(data: str, harm: str, rng: np.random.Generator, items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of both sides and the number of the source of each pair."""
    x, y = pairs(data)
    rows = rng.permutation(len(x))[:items]
    x, y, n = x[rows].copy(), y[rows].copy(), len(rows)
    source = rng.integers(0, SOURCES, n)
    for side in (x, y):
        spread = side.std(axis=0)
        side += OFFSET * (rng.normal(size=(SOURCES, side.shape[1])) * spread)[source]
        side += NOISE * rng.normal(size=side.shape) * spread
    bad = np.flatnonzero(source == HARMFUL)
    if harm == "shuffled":
        x[bad] = x[rng.permutation(bad)]
    if harm == "other rule":
        middle = x[bad].mean(axis=0)
        turn = np.linalg.qr(rng.normal(size=(x.shape[1],) * 2))[0]
        x[bad] = (x[bad] - middle) @ turn + middle
    return x, y, source


def between(asked: Sources, rng: np.random.Generator) -> float:
    """The share of mixtures of two sources whose accuracy on a third lies between those of the two."""
    size = int(np.bincount(asked.source).min())
    some = [rng.permutation(np.flatnonzero(asked.source == s))[:size] for s in range(SOURCES)]
    alone = np.stack([_accuracy(asked, rows) for rows in some])
    inside = []
    for a, b in itertools.combinations(range(SOURCES), 2):
        mixed = _accuracy(asked, np.concatenate([some[a][: size // 2], some[b][: size - size // 2]]))
        low, high = np.sort(alone[[a, b]], axis=0)
        inside += [low[c] <= mixed[c] <= high[c] for c in range(SOURCES) if c not in (a, b)]
    return float(np.mean(inside))


def _accuracy(asked: Sources, rows: np.ndarray) -> np.ndarray:
    learnt = np.zeros(len(asked.x), bool)
    learnt[rows] = True
    return asked.accuracy(asked.found(learnt))


def trained(x: np.ndarray, y: np.ndarray, rows: np.ndarray, test: np.ndarray, seed: int, epochs: int) -> float:
    """R@10 among the pairs of the test, the mean of both directions, of heads trained on some rows."""
    item, recipe = torch.arange(len(rows)), Recipe(head="linear-head(dim=128)", epochs=epochs, batch_size=128)
    query, document = (Features(side[rows].astype(np.float32)) for side in (x, y))
    fitted = fit(recipe, TrainData(query, document, Keys(item, item, item)), seed=seed)
    q, k = (fitted.encode(name, side[test].astype(np.float32)) for name, side in (("query", x), ("document", y)))
    right = Relevant.by_target(np.arange(len(test)), np.arange(len(test)))
    return float(np.mean([retrieval(a, b, right, ks=(10,))["R@10"].mean() for a, b in ((q, k), (k, q))]))
