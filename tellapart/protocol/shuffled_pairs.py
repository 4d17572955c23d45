"""Learning from pairs of which a share is wrong: the texts of these are dealt out among themselves.

Data: `openmoji` (names and drawings, one of each concept), `wordnet` (the words of noun synsets and their glosses).
Towers are linear heads on frozen features. Pairs of validation and test are never trained on. Those of training and of
validation are shuffled alike, as nobody who has such pairs has others to choose by; those of the test are all right.

Each contender chooses among its recipes by R@10 on validation, the mean of both directions; the test is looked at
once. Metrics: `R@10, S% shuffled`, among the test pairs, the mean of both directions; `against NAME` compares the
variant with a further contender.

Options (`[options]` of the spec):
    shuffled: the shares ([0, 0.3, 0.5]).
    baseline, variant: fields of a recipe each; a list holds what is chosen from. Further ones by name in `against`.
    items: at most so many pairs of a data set (2500).
    epochs, batch_size, head: the budget, the same for all (20, 128, "linear-head(dim=128)").
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tellapart.core.errors import PartError
from tellapart.core.relation import Keys
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.engine.fit import Fitted, fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.protocol.misfits import pairs
from tellapart.recipe import Recipe

KNOWN = ("shuffled", "baseline", "variant", "against", "items", "epochs", "batch_size", "head")
SHARES = (0.6, 0.15, 0.25)

Pairs = tuple[np.ndarray, np.ndarray]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol shuffled_pairs has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    budget = {
        "epochs": options.get("epochs", 20),
        "batch_size": options.get("batch_size", 128),
        "head": options.get("head", "linear-head(dim=128)"),
    }
    others = {"": options["baseline"], **{f" against {k}": v for k, v in options.get("against", {}).items()}}
    found = {}
    for share in options.get("shuffled", [0.0, 0.3, 0.5]):
        parts = parted(data, seed, items=options.get("items", 2500), share=share)
        ours = chosen(parts, seed, budget | options["variant"])
        for name, fields in others.items():
            found[f"R@10{name}, {share:.0%} shuffled"] = (chosen(parts, seed, budget | fields), ours)
    return found


def chosen(parts: list[Pairs], seed: int, fields: Mapping[str, Any]) -> float:
    """The test figure of the recipe that is best on validation."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    item = torch.arange(len(parts[0][0]))
    train = TrainData(Features(parts[0][0]), Features(parts[0][1]), Keys(item, item, item))
    figures = []
    for values in itertools.product(*lists.values()):
        fitted = fit(Recipe.of(dict(zip(lists, values, strict=True))), train, seed=seed)
        figures.append([found(fitted, *part) for part in parts[1:]])
    return max(figures, key=lambda pair: pair[0])[1]


def found(fitted: Fitted, x: np.ndarray, y: np.ndarray) -> float:
    """R@10 among some pairs, the mean of both directions."""
    q, k, own = fitted.encode("query", x), fitted.encode("document", y), np.arange(len(x))
    right = Relevant.by_target(own, own)
    return float(np.mean([retrieval(a, b, right, ks=(10,))["R@10"].mean() for a, b in ((q, k), (k, q))]))


def parted(data: str, seed: int, *, items: int, share: float) -> list[Pairs]:
    """Pairs of training, validation and test; the same ones are shuffled at a larger share, and more."""
    x, y = (side.astype(np.float32) for side in pairs(data))
    rng = np.random.default_rng(np.random.SeedSequence([seed, 11]))
    rows = rng.permutation(len(x))[:items]
    cuts = (np.cumsum(SHARES)[:2] * len(rows)).astype(int)
    made = []
    for place, part in enumerate(np.split(rows, cuts)):
        query, order = x[part].copy(), rng.permutation(len(part))
        if place < 2:
            wrong = order[: round(share * len(part))]
            query[wrong] = query[np.roll(wrong, 1)]
        made.append((query, y[part]))
    return made
