"""Both sides of a collection searched together: whether a query finds its pair, and finds the kind it asked for.

Towers are trained on pairs. Then the held-out items of both sides stand in one index; each query of one side wants the
other, and its own item and duplicate group of its own side are not searched. The baseline and the part are trained on
the same pairs for the same number of steps; each chooses among its options by the validation part; the test part is
looked at once.

Metrics, means of both directions:
- `recall@5`: share of queries with their pair among the first five of both kinds;
- `wrong kind in the first five`: share of what is found there that is of the kind not asked for (less is better);
- `recall@5, own kind alone`: the same where only the kind asked for is searched, as in an index with a filter.

A strategy that learns wishes (`ask`) is searched with them; any other with the towers' vectors as they are.

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    controls: further recipes (changes of the baseline) that the part is compared with.
    train_items, epochs, batch_size, head: the budget, the same for all.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.data.identity import curate
from tellapart.data.splits import split
from tellapart.data.spool import cache_folder
from tellapart.engine.fit import Fitted
from tellapart.engine.trial import held_out, trial
from tellapart.protocol._sets import shipped
from tellapart.recipe import Recipe

LOWER_IS_BETTER = ("wrong kind",)
DATA, SHARES = ("openmoji", "docstrings"), (0.6, 0.15, 0.25)
KNOWN = ("baseline", "variant", "controls", "train_items", "epochs", "batch_size", "head")
MOST_PAIRS, FIRST = 4000, 5
SIDES = ("query", "document")

Figures = dict[str, float]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, part)} for one data set and one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol mixed has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    budget = {
        "batch_size": options.get("batch_size", 64),
        "epochs": options.get("epochs", 12),
        "head": options.get("head", "linear-head(dim=128)"),
    }
    base = options.get("baseline", {})
    most = options.get("train_items", 1500)
    ours = _chosen(data, seed, budget | options.get("variant", {}), most)
    found = _beside(_chosen(data, seed, budget | base, most), ours, "")
    for control in options.get("controls", []):
        words = ", ".join(f"{k}={v}" for k, v in control.items())
        found |= _beside(_chosen(data, seed, budget | base | control, most), ours, f", against {words}")
    return found


def _beside(one: Figures, other: Figures, words: str) -> dict[str, tuple[float, float]]:
    return {f"{name}{words}": (one[name], other[name]) for name in one}


def _chosen(data: str, seed: int, fields: Mapping[str, Any], most: int) -> Figures:
    """The test figures of the recipe with the best recall@5 on the validation part."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    found = [_figures(data, recipe, seed, most) for recipe in recipes]
    return max(found, key=lambda figures: figures[0]["recall@5"])[1]


@functools.cache
def pairs(data: str) -> tuple[Collection, dict[str, np.ndarray]]:
    """A collection of pairs with its duplicate groups, and frozen features of both sides."""
    from tellapart.engine.prepare import features

    if data not in DATA:
        raise DataError(f"the protocol mixed knows {', '.join(DATA)}, not {data!r}")
    made = shipped(data)
    if len(made) > MOST_PAIRS:
        made = made.take(np.linspace(0, len(made) - 1, MOST_PAIRS).astype(int))
    made = curate(made)
    cache = cache_folder(None, "evidence-vectors")
    return made, {side: np.array(x) for side, x in features(made, Recipe(), cache=cache).items()}


def _figures(data: str, recipe: Recipe, seed: int, most: int) -> tuple[Figures, Figures]:
    """(validation, test) figures of a recipe."""
    made, vectors = pairs(data)
    parted = split(made, seed=seed, shares=SHARES)
    part = np.asarray(parted.values("split"), dtype=object)
    spare = np.random.default_rng(seed).permutation(np.flatnonzero(part == "train"))[most:]
    part[spare] = "unused"
    parted = parted.with_column("split", list(part))
    fitted = trial(parted, vectors, recipe, seed=seed).fitted
    if fitted is None:
        raise PartError("the protocol mixed compares recipes that train something: leave tune=head")
    return _of_part(parted, vectors, fitted, "validation"), _of_part(parted, vectors, fitted, "test")


def _of_part(made: Collection, vectors: Mapping[str, np.ndarray], fitted: Fitted, part: str) -> Figures:
    rows = held_out(made, part)
    z = {side: fitted.encode(side, vectors[side][rows]) for side in SIDES}
    sides = made.sides()
    target = made.codes(sides.target)[0][rows] if sides.target else np.arange(len(rows))
    group = np.asarray(made.numbers("group"))[rows]
    found = [
        found_among_both(asked(fitted.strategy, z[a], b), z[b], z[a], target, group) for a, b in (SIDES, SIDES[::-1])
    ]
    return {name: float(np.mean([figures[name] for figures in found])) for name in found[0]}


def asked(strategy: Any, z: np.ndarray, wanted: str) -> np.ndarray:
    """The vectors to search with, for a side."""
    if not hasattr(strategy, "ask"):
        return z
    with torch.no_grad():
        return np.asarray(strategy.ask(torch.from_numpy(z).to(strategy.wishes.device), wanted).cpu())


def found_among_both(
    q: np.ndarray, wanted: np.ndarray, own_kind: np.ndarray, target: np.ndarray, group: np.ndarray
) -> Figures:
    """The three figures of n queries; row i of all belongs to item i.

    Ties count against the query: what scores as its pair does comes first.

    Args:
        wanted, own_kind: [n, d] vectors of the items, as the kind wanted and as the queries' own.
        target, group: [n] what the items answer, and their duplicate groups.
    """
    right, wrong = q @ wanted.T, q @ own_kind.T
    wrong[group[:, None] == group] = -np.inf
    positive = target[:, None] == target
    best = np.where(positive, right, -np.inf).max(1, keepdims=True)
    before = ((right >= best) & ~positive).sum(1)
    of_both = before + (wrong >= best).sum(1)
    first = -np.partition(-np.concatenate([right, wrong], 1), FIRST - 1, axis=1)[:, FIRST - 1 : FIRST]
    of_wrong = np.minimum((wrong >= first).sum(1), FIRST)
    return {
        "recall@5": float((of_both < FIRST).mean()),
        "wrong kind in the first five": float(of_wrong.mean() / FIRST),
        "recall@5, own kind alone": float((before < FIRST).mean()),
    }
